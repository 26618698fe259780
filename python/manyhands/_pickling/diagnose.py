"""Which part of an object cannot be pickled, and where it is, in words.

Pickle says ``cannot pickle '_thread.lock' object`` and not where the lock is. `explain` walks into
the object that failed, always into the first part that fails by itself, and names the smallest
one::

    cannot pickle argument 2, attribute .lock ('_thread.lock' object): ...

Guarantees:
    the explanation is an exception of the same class as the failure (or the failure itself with a
    note, if its class cannot be made from a message); the search is bounded in objects and time;
    an object whose methods raise does not break it.

Does not do: help against a ``__reduce__`` that never returns.
"""

from __future__ import annotations

import functools
import sys
import time
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

MAX_OBJECTS = 10_000
MAX_SECONDS = 1.0
MAX_DEPTH = 100
MAX_STEPS_SHOWN = 6

_SCALARS = (str, bytes, bytearray, int, float, complex, bool, type(None))
_ADVICE = {
    **dict.fromkeys(
        ("lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore"),
        "create the lock in the worker (initializer=)",
    ),
    **dict.fromkeys(("generator", "async_generator"), "send a list of its items"),
    "coroutine": "send the function that makes it and await it in the worker",
    **dict.fromkeys(
        ("TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom", "FileIO"),
        "send the file's path and open it in the worker (a Process of the start method 'fork' "
        "inherits it)",
    ),
    **dict.fromkeys(
        ("socket", "Connection", "SSLSocket", "mmap", "Cursor"),
        "open it in the worker (initializer=)",
    ),
    "SSLContext": "make it in the worker (initializer=)",
    "Logger": "send its name and call logging.getLogger in the worker",
    "_local": "make it in the worker (initializer=)",
    "ContextVar": "set a variable of an importable module in the worker (initializer=)",
    "Context": "send the values that the worker needs of it",
    "Token": "send the value itself",
    **dict.fromkeys(
        ("ReferenceType", "weakref", "weakproxy", "weakcallableproxy", "KeyedRef"),
        "send the object that it refers to",
    ),
    **dict.fromkeys(
        ("Thread", "Future", "Task", "Popen"), "wait for it here and send what comes out of it"
    ),
    **dict.fromkeys(("frame", "traceback"), "send the text of the traceback"),
    "code": "send the function",
    "memoryview": "send bytes(view)",
    "module": "import it in the worker",
}


def explain_call(args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> BaseException:
    """Explain why a task's arguments cannot be pickled: "argument 2, attribute .lock"."""
    parts = [(f"argument {number}", value) for number, value in enumerate(args, 1)]
    parts += [(f"keyword argument {name!r}", value) for name, value in kwargs.items()]
    search = _Search()
    for place, value in parts:
        if search.failure(value) is not None:
            return _explained(search, [place], value, error)
    return _explained(search, ["the arguments of the task"], None, error, descend=False)


def explain_result(obj: Any, error: Exception) -> BaseException:
    """Explain why a task's result cannot be pickled: "the result of the task, item [3]"."""
    return _explained(_Search(), ["the result of the task"], obj, error)


def explain_function(fn: Any, error: Exception) -> BaseException:
    """Explain why a function cannot be pickled: "variable 'lock' captured by function 'f'"."""
    return _explained(_Search(), [_kind(fn)], fn, error)


def explain(obj: Any, error: Exception, where: str = "the object") -> BaseException:
    """An exception that says which part of `obj` cannot be pickled.

    Args:
        obj: what could not be pickled.
        error: the failure.
        where: words for `obj` itself.

    Returns: an exception of the class of `error`; raise it from `error`.

    >>> import threading
    >>> error = TypeError("cannot pickle '_thread.lock' object")
    >>> str(explain({"a": [1, threading.Lock()]}, error, "the job"))[:68]
    "cannot pickle the job, key 'a', item [1] ('_thread.lock' object): ca"
    """
    return _explained(_Search(), [where], obj, error)


class _Search:
    """The budget of one explanation, and what it has seen."""

    def __init__(self) -> None:
        self._n_left = MAX_OBJECTS
        self._deadline = time.monotonic() + MAX_SECONDS
        # Keeps what it has seen alive, so that no id is used twice.
        self._seen: dict[int, Any] = {}

    def failure(self, obj: Any) -> Exception | None:
        """The error of pickling `obj` alone; None if it pickles or the budget is spent."""
        if isinstance(obj, _SCALARS) and type(obj) in _SCALARS:
            return None
        self._n_left -= 1
        if self._n_left < 0 or time.monotonic() > self._deadline:
            return None
        from manyhands._pickling.codec import dumps_unexplained

        try:
            dumps_unexplained(obj, [])
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return error if isinstance(error, Exception) else None
        return None

    def first_failing_part(self, obj: Any) -> tuple[str, Any, Exception] | None:
        """The first part of `obj`, not looked into before, which cannot be pickled by itself."""
        parts = _parts(obj)
        while True:
            try:
                place, value = next(parts)
            except StopIteration:
                return None
            except KeyboardInterrupt:
                raise
            except BaseException:
                return None  # An object that cannot even be taken apart.
            if id(value) in self._seen:
                continue
            error = self.failure(value)
            if error is not None:
                self._seen[id(value)] = value
                return place, value, error


def _explained(
    search: _Search, path: list[str], obj: Any, error: Exception, descend: bool = True
) -> BaseException:
    cause = error
    # Of an object that is nested too deeply, every part fails in turn; the outermost says enough.
    if descend and not isinstance(error.__cause__ or error, RecursionError):
        for _ in range(MAX_DEPTH):
            if _says_enough(obj):
                break
            found = search.first_failing_part(obj)
            if found is None:
                break
            if path[-1] == _kind(obj):
                path.pop()  # The place of a captured variable names its function.
            place, obj, cause = found
            path.append(place)
    if len(path) > 2 * MAX_STEPS_SHOWN:
        path[MAX_STEPS_SHOWN:-MAX_STEPS_SHOWN] = ["..."]
    shown = f" ({_kind(obj)})" if descend and _kind(obj) != path[-1] else ""
    message = f"cannot pickle {', '.join(path)}{shown}: {_text(cause)}; {_advice(obj)}"
    return _same_class(error, message)


def _same_class(error: Exception, message: str) -> BaseException:
    try:
        made = type(error)(message)
        if type(made) is type(error) and str(made) == message:
            return made
    except Exception:
        pass  # A class with an __init__ of its own.
    try:
        error.add_note(message)
    except Exception:
        pass  # Then the error must speak for itself.
    return error


def _advice(obj: Any) -> str:
    own = _ADVICE.get(type(obj).__name__)
    return "pass data that can be pickled" + (f", or {own}" if own else "")


def _says_enough(obj: Any) -> bool:
    """Whether `obj` is of a kind that users know better than what it is made of."""
    module = type(obj).__module__.partition(".")[0]
    return type(obj).__name__ in _ADVICE and module in sys.stdlib_module_names


def _text(error: BaseException) -> str:
    try:
        return str(error).rstrip(".") or type(error).__name__
    except Exception:
        return type(error).__name__


def _kind(obj: Any) -> str:
    """Words for an object that do not call anything of its own."""
    if isinstance(obj, types.FunctionType):
        return f"function {obj.__qualname__!r}"
    if type(obj) is type:
        return f"class {obj.__qualname__!r}"
    cls = type(obj)
    name = cls.__qualname__
    prefix = "" if cls.__module__ == "builtins" else f"{cls.__module__}."
    return f"'{prefix}{name}' object"


# --- taking objects apart -----------------------------------------------------------------------


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """The parts of `obj` that are pickled with it, each with words for its place."""
    if isinstance(obj, types.FunctionType):
        yield from _function_parts(obj)
    elif isinstance(obj, types.MethodType):
        yield f"object of the bound method {obj.__func__.__name__!r}", obj.__self__
        yield f"function of the bound method {obj.__func__.__name__!r}", obj.__func__
    elif isinstance(obj, functools.partial):
        yield "function of the partial", obj.func
        yield from ((f"argument {n} of the partial", v) for n, v in enumerate(obj.args, 1))
        yield from ((f"keyword argument {k!r} of the partial", v) for k, v in obj.keywords.items())
    elif isinstance(obj, type):
        yield from _class_parts(obj)
    elif type(obj) in (list, tuple, deque):
        yield from ((f"item [{index}]", value) for index, value in enumerate(obj))
    elif type(obj) in (set, frozenset):
        yield from (("an item of the set", value) for value in obj)
    elif type(obj) is dict:
        yield from _dict_parts(obj)
    else:
        yield from _instance_parts(obj)


def _dict_parts(mapping: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        yield f"key {_short(key)}", value
    for key in mapping:
        yield f"the key {_short(key)} itself", key


def _short(key: Any) -> str:
    if type(key) in _SCALARS:
        text = repr(key)
        return text if len(text) <= 60 else text[:57] + "..."
    return _kind(key)


def _function_parts(fn: types.FunctionType) -> Iterator[tuple[str, Any]]:
    from manyhands._pickling import by_value

    owner = f"function {fn.__qualname__!r}"
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue  # An empty cell.
        yield f"variable {name!r} captured by {owner}", value
    names = fn.__code__.co_varnames[: fn.__code__.co_argcount]
    defaults = fn.__defaults__ or ()
    for name, value in zip(names[len(names) - len(defaults) :], defaults, strict=True):
        yield f"default of parameter {name!r} of {owner}", value
    for name, value in (fn.__kwdefaults__ or {}).items():
        yield f"default of parameter {name!r} of {owner}", value
    home = by_value.home(fn)
    for name in by_value.referenced_globals(fn) if home in (None, by_value.MAIN) else ():
        value = fn.__globals__.get(name)
        if home is None or not by_value.made_new(value):
            yield f"global variable {name!r} used by {owner}", value
    for name, value in fn.__dict__.items():
        yield f"attribute .{name} of {owner}", value


def _class_parts(cls: type) -> Iterator[tuple[str, Any]]:
    for base in cls.__bases__:
        yield f"base class {base.__qualname__!r}", base
    for name, value in vars(cls).items():
        if isinstance(value, (staticmethod, classmethod)):
            yield f"class attribute .{name}", value.__func__
        elif isinstance(value, property):
            yield from ((f"property .{name}", part) for part in (value.fget, value.fset) if part)
        elif name not in ("__dict__", "__weakref__", "__doc__", "_abc_impl"):
            yield f"class attribute .{name}", value


def _instance_parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """Parts of any other object: what its ``__reduce_ex__`` says, else its attributes."""
    if isinstance(obj, tuple):
        fields = getattr(type(obj), "_fields", ())
        for index, value in enumerate(tuple.__iter__(obj)):
            yield f"attribute .{fields[index]}" if index < len(fields) else f"item [{index}]", value
    try:
        reduced = obj.__reduce_ex__(5)
    except Exception:
        yield from _attributes(obj)
        return
    if not isinstance(reduced, tuple) or len(reduced) < 2:
        return
    state, items, pairs = (*reduced[2:], None, None, None)[:3]
    yield from _state_parts(state)
    yield from ((f"item [{index}]", value) for index, value in enumerate(items or ()))
    yield from ((f"key {_short(key)}", value) for key, value in pairs or ())
    yield "its class", type(obj)
    for value in reduced[1] if isinstance(reduced[1], tuple) else ():
        # The names of attributes are better words; these are what __reduce__ adds to them.
        yield from _named_argument(obj, value)


def _named_argument(obj: Any, value: Any) -> Iterator[tuple[str, Any]]:
    for name, attribute in _attributes(obj):
        if attribute is value:
            yield name, value
            return
    yield f"a part of the {_kind(obj)}", value


def _state_parts(state: Any) -> Iterator[tuple[str, Any]]:
    if type(state) is tuple and [s for s in state if s is not None and type(s) is not dict] == []:
        # Of the attributes, and of the slots.
        for half in state:
            yield from _state_parts(half)
    elif type(state) is dict:
        yield from ((f"attribute .{name}", value) for name, value in state.items())
    elif state is not None:
        yield "its state", state


def _attributes(obj: Any) -> Iterator[tuple[str, Any]]:
    try:
        attributes = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        attributes = {}
    if type(attributes) is dict:
        yield from ((f"attribute .{name}", value) for name, value in attributes.items())
    for cls in type(obj).__mro__:
        for name, member in vars(cls).items():
            if isinstance(member, types.MemberDescriptorType):
                try:
                    yield f"attribute .{name}", member.__get__(obj)
                except AttributeError:
                    continue  # A slot that was never filled.
