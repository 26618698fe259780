"""What a function sent by value has captured, and whether any of it was rebound since.

A pool sends a function once. If a variable that the function captured (a closure cell, a global
of its module or of a function it calls, a default argument) is bound to another object later, the
function must be sent again. A `Guard` remembers the identities and `holds` compares them.

Guarantees: a rebound variable is noticed; nothing of the user's is called or compared by value.
Does not do: notice that a captured object was changed in place (a list that grew).

What is remembered is held weakly where Python can, else (numbers, strings, lists, dicts, tuples)
strongly until the guard is dropped.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from manyhands._pickling import by_value

MAX_FUNCTIONS = 200

_EMPTY = object()


class _Captured:
    """Everything one function captured. `fn` itself is held weakly."""

    __slots__ = ("cells", "code", "defaults", "fn", "globals", "kwdefaults")

    def __init__(self, fn: types.FunctionType) -> None:
        keep = by_value.strong_or_weak
        self.fn = keep(fn)
        self.code = fn.__code__
        self.defaults = keep(fn.__defaults__)
        self.kwdefaults = keep(fn.__kwdefaults__)
        self.cells = [keep(_contents(cell)) for cell in fn.__closure__ or ()]
        names = by_value.referenced_globals(fn) if by_value.home(fn) in (None, "__main__") else ()
        self.globals = [(name, keep(fn.__globals__.get(name, _EMPTY))) for name in names]

    def holds(self, fn: Any) -> bool:
        if fn.__code__ is not self.code or fn.__defaults__ is not self.defaults():
            return False
        if fn.__kwdefaults__ is not self.kwdefaults():
            return False
        for cell, value in zip(fn.__closure__ or (), self.cells, strict=True):
            if _contents(cell) is not value():
                return False
        namespace = fn.__globals__
        return all(namespace.get(name, _EMPTY) is value() for name, value in self.globals)


def _seen(reference: Callable[[], Any]) -> tuple[bool, Any]:
    """A remembered value as the compiled check wants it: is it held weakly, and by what."""
    weak = getattr(reference, "reference", None)
    if weak is not None:
        return True, weak
    value = reference()
    return False, None if value is _EMPTY else (value,)


class Guard:
    """The identities of what a function, and the by-value functions it calls, captured."""

    __slots__ = ("_callees", "_own")

    def __init__(self, fn: Callable[..., Any]) -> None:
        functions = list(_by_value_functions(fn))
        self._own = _Captured(functions[0]) if functions else None
        self._callees = [_Captured(callee) for callee in functions[1:]]

    def holds(self, fn: Callable[..., Any]) -> bool:
        """Whether no captured variable of `fn` has been rebound since the guard was made."""
        if self._own is None:
            return True
        if not self._own.holds(fn):
            return False
        for captured in self._callees:
            callee = captured.fn()
            # A callee that is gone was rebound somewhere, and that place reports it.
            if isinstance(callee, types.FunctionType) and not captured.holds(callee):
                return False
        return True

    def watched(self) -> list[tuple[Any, ...]]:
        """All that `holds` compares, for the compiled check.

        For each function: whether and by what it is held, its code, defaults, cells with their
        contents, and namespace with the globals in it.
        """
        found = [] if self._own is None else [self._own, *self._callees]
        return [
            (
                *_seen(captured.fn),
                captured.code,
                captured.defaults(),
                captured.kwdefaults(),
                [_seen(cell) for cell in captured.cells],
                [(name, *_seen(value)) for name, value in captured.globals],
            )
            for captured in found
        ]


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _by_value_functions(fn: Callable[..., Any]) -> list[types.FunctionType]:
    """`fn` and the functions it captured that travel by value with it; at most MAX_FUNCTIONS."""
    if not isinstance(fn, types.FunctionType):
        return []
    found = [fn]
    seen = {id(fn)}
    for function in found:
        for value in captured_values(function):
            if len(found) >= MAX_FUNCTIONS:
                return found
            if not isinstance(value, types.FunctionType) or id(value) in seen:
                continue
            seen.add(id(value))
            if not by_value.by_reference(value):
                found.append(value)
    return found


def captured_values(fn: types.FunctionType) -> list[Any]:
    """The values in the closure cells of `fn`, then those of the globals it uses."""
    values = [_contents(cell) for cell in fn.__closure__ or ()]
    if by_value.home(fn) in (None, "__main__"):
        values += [fn.__globals__.get(name, _EMPTY) for name in by_value.referenced_globals(fn)]
    return values
