"""Objects of ``__main__`` in messages: what queues, pipes and managers carry.

A message that names a class or function of ``__main__`` carries its definition along, made once::

    instance of C  ──▶  [which definition it is] [C by value: bytes made before] [its state]

Guarantees:
    The reader needs no ``__main__`` of its own: no script is run again, none needs a guard, and the
    REPL works. A reader that has the very class or function (the sender itself, what was forked
    from it since) gets that one; another reader makes it once. A definition is made anew when an
    attribute of the class, or a global variable that its methods use, has been rebound. What cannot
    be sent by value goes by reference, as the standard module sends it: then the reader imports the
    script.

Does not do: tasks of pools, which send a function once, see `_pickling.dumps_function`.
"""

from __future__ import annotations

import _pickle
import copyreg
import io
import itertools
import os
import pickle
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

from manyhands import _runtime
from manyhands._pickling import by_value, captured, codec
from manyhands._pickling.by_value import MAIN

__all__ = ["begin_anew", "dumps"]

#: Definitions from elsewhere that are kept, so that the next message finds them.
_MOST_ARRIVED = 1000
_EMPTY = object()
#: Where methods, properties and wrappers keep their functions.
_HOLD_FUNCTIONS = ("__func__", "fget", "fset", "fdel", "func", "__wrapped__")

# The same in all forks of one process: whoever has it may have the very object.
_lineage = os.urandom(8)
# This process's own.
_sender = os.urandom(8)
_numbers = itertools.count(1)
_definitions: weakref.WeakKeyDictionary[Any, _Definition] = weakref.WeakKeyDictionary()
_arrived: dict[tuple[bytes, int], Any] = {}


def dumps(obj: Any, buffers: list[Any] | None) -> bytes:
    """Pickle `obj`, what belongs to ``__main__`` with its definition, or by reference.

    Args:
        obj: anything.
        buffers: out-of-band buffers are appended to this list; None keeps them in the pickle.

    Raises: the error of pickling by value, if neither way succeeds.

    >>> pickle.loads(dumps(lambda x: x + 1, None))(1)
    2
    """
    n_before = len(buffers) if buffers is not None else 0
    callback = None if buffers is None else buffers.append
    try:
        if not codec.any_module_by_value():
            with io.BytesIO() as file:
                _MessagePickler(file, callback).dump(obj)
                return file.getvalue()
    except Exception:
        if buffers is not None:
            del buffers[n_before:]
    try:
        return by_value.dumps(obj, buffers)
    except Exception as error:
        if buffers is not None:
            del buffers[n_before:]
        try:
            return pickle.dumps(obj, 5, buffer_callback=callback)
        except Exception:
            raise error from None


class _MessagePickler(_pickle.Pickler):
    """The plain pickler, with definitions of ``__main__`` as bytes that were made before."""

    def __init__(self, file: Any, buffer_callback: Callable[..., Any] | None) -> None:
        # Before the C initializer, which looks it up once.
        reduction: Any = sys.modules.get("multiprocessing.reduction")
        if reduction is not None:
            extra = reduction.ForkingPickler._extra_reducers
            self.dispatch_table = copyreg.dispatch_table | extra
        super().__init__(file, 5, buffer_callback=buffer_callback)

    def reducer_override(self, obj: Any) -> Any:
        if getattr(obj, "__module__", None) != MAIN:
            return NotImplemented  # What cannot be found there is refused.
        if isinstance(obj, (type, types.FunctionType)):
            reduced = _reduced(obj)
            if reduced is not None:
                return reduced
        elif not isinstance(obj, by_value._NAMED_BY_REDUCE):
            return NotImplemented
        raise pickle.PicklingError("this needs the pickler for everything")


class _Definition:
    """An object of ``__main__`` by value, and what must be the same for it to be the same."""

    def __init__(self, obj: Any) -> None:
        # Kept, so that no address comes to mean something else.
        self._parts = _parts(obj)
        self._addresses = [*map(id, self._parts)]
        namespace = sys.modules[MAIN].__dict__
        keep = by_value.strong_or_weak
        self._globals = [(name, keep(namespace.get(name, _EMPTY))) for name in _globals(obj)]
        data, references = _runtime.collect_references(lambda: by_value.dumps(obj))
        references.release()
        # Shared objects would have to be counted for every message.
        self._data = None if references.named else data
        self._key = _sender, next(_numbers)

    def holds(self, obj: Any) -> bool:
        """Whether nothing of it was rebound."""
        if [*map(id, _parts(obj))] != self._addresses:
            return False
        namespace = sys.modules[MAIN].__dict__
        return all(namespace.get(name, _EMPTY) is known() for name, known in self._globals)

    def reduced(self, obj: Any) -> tuple[Any, ...] | None:
        """What `__reduce__` returns; None: it cannot be made before."""
        if self._data is None:
            return None
        return _defined, (self._key, _lineage, obj.__qualname__, id(obj), self._data)


def _reduced(obj: Any) -> tuple[Any, ...] | None:
    """The object of ``__main__`` as its definition; None for any other object."""
    if _find(obj.__qualname__) is not obj:
        return None
    definition = _definitions.get(obj)
    if definition is None or not definition.holds(obj):
        definition = _definitions[obj] = _Definition(obj)
    return definition.reduced(obj)


def _defined(key: tuple[bytes, int], lineage: bytes, name: str, address: int, data: bytes) -> Any:
    """Unpickle an object of ``__main__``: the very one if it is here, else as it was defined."""
    found = _arrived.get(key, _EMPTY)
    if found is not _EMPTY:
        return found
    found = _find(name) if lineage == _lineage else None
    if found is None or id(found) != address:
        found = pickle.loads(data)
    if len(_arrived) >= _MOST_ARRIVED:
        _arrived.clear()
    _arrived[key] = found
    return found


def _find(name: str) -> Any:
    found: Any = vars(sys.modules[MAIN])
    if (direct := found.get(name)) is not None:
        return direct
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else vars(found).get(part)
        if not isinstance(found, (type, types.FunctionType)):
            return None
    return found


def _parts(obj: Any) -> list[Any]:
    if isinstance(obj, types.FunctionType):
        return [obj.__code__, obj.__defaults__, obj.__kwdefaults__]
    return [part for cls in _classes(obj) for part in list(vars(cls).values())]


def _classes(cls: type) -> list[type]:
    """The class and its bases that are sent with it."""
    return [base for base in cls.__mro__ if base.__module__ == MAIN]


def _globals(obj: Any) -> list[str]:
    """Names of the global variables of ``__main__`` that come with it."""
    functions: list[Any] = [obj] if isinstance(obj, types.FunctionType) else []
    if not functions:
        for part in _parts(obj):
            functions += [getattr(part, name, None) for name in _HOLD_FUNCTIONS]
            functions.append(part)
    names: dict[str, None] = {}
    for function in functions:
        for callee in captured._by_value_functions(function):
            if by_value.home(callee) == MAIN:
                names.update(dict.fromkeys(by_value.referenced_globals(callee)))
    return list(names)


def begin_anew() -> None:
    """In a process that has another ``__main__`` than the one it was forked from."""
    global _lineage
    _lineage = os.urandom(8)
    _definitions.clear()
    _arrived.clear()


def _forked() -> None:
    global _sender
    _sender = os.urandom(8)


os.register_at_fork(after_in_child=_forked)
