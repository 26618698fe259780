"""Pickling between a pool and its workers, where the plain pickle of the hot path is not enough.

The runtime pickles with the C pickler itself and calls this module when that fails, or when the
pickle names ``__main__`` (workers never import it). Everything is protocol 5; large buffers
travel out of band.

Guarantees:
    what can be sent at all is sent, by reference where the worker can import it and by value
    elsewhere; what cannot be sent raises an error of the original class whose message names the
    object and its place; SystemExit and KeyboardInterrupt pass through untouched.

Does not do: decide where bytes go; see `exceptions` for exceptions of tasks.
"""

from __future__ import annotations

import copyreg
import functools
import itertools
import pickle
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from manyhands._pickling.exceptions import dumps_exception, loads_exception

__all__ = [
    "any_module_by_value",
    "dumps",
    "dumps_call",
    "dumps_chunk",
    "dumps_exception",
    "dumps_function",
    "dumps_main",
    "dumps_message",
    "dumps_result",
    "dumps_unexplained",
    "dumps_whole_call",
    "guard_holds",
    "is_cacheable",
    "loads",
    "loads_exception",
    "register_connection_reducers",
    "run_chunk",
    "run_starred_chunk",
]

# Plain pickle refuses with one of these what pickling by value may accept.
_REFUSALS = (pickle.PicklingError, AttributeError, TypeError)


def dumps(obj: Any, buffers: list[Any] | None, *, to_parent: bool = False) -> bytes:
    """Pickle `obj` for another process of the pool.

    Differs from ``pickle.dumps``: lambdas, closures, nested functions and everything of
    ``__main__`` are pickled by value.

    Args:
        obj: what to send.
        buffers: list that receives the out-of-band buffers (``pickle.PickleBuffer``); None keeps
            them in the pickle.
        to_parent: the reader is this worker's parent, see `dumps_result`.

    Raises:
        The error of the pickler, of the same class, its message extended by which part of `obj`
        cannot be pickled and where it is.

    >>> loads(dumps(lambda: "by value", None))()
    'by value'
    """
    return _dumps(obj, buffers, to_parent, lambda error: diagnose().explain(obj, error))


#: Makes the error for a result that cannot be pickled, in workers of `multiprocessing.Pool`, which
#: refuse nested functions as the standard does.
refused_result: Callable[[Exception, Any], Exception] | None = None


def dumps_result(obj: Any, buffers: list[Any] | None) -> bytes:
    """Pickle the result of a task in a worker. Classes the parent sent go back as their names.

    Args and errors as with `dumps`; the message speaks of "the result of the task".
    """
    if refused_result is not None:
        try:
            if _is_nested(obj) or (type(obj) is list and any(map(_is_nested, obj))):
                raise pickle.PicklingError("a lambda or nested function has no name elsewhere")
            return dumps_unexplained(obj, buffers, True)
        except Exception as error:
            raise refused_result(error, obj) from None
    return _dumps(obj, buffers, True, lambda error: diagnose().explain_result(obj, error))


def _is_nested(obj: Any) -> bool:
    return isinstance(obj, types.FunctionType) and "<" in obj.__qualname__


def dumps_message(obj: Any, buffers: list[Any] | None) -> bytes:
    """Pickle what a queue, pipe or manager carries: to whom is not known.

    As `dumps`, but a class or function of ``__main__`` that the reader has already is the reader's
    own, see `main_objects`.
    """
    n_before = len(buffers) if buffers is not None else 0
    if not any_module_by_value():
        callback = buffers.append if buffers is not None else None
        try:
            data = pickle.dumps(obj, 5, buffer_callback=callback)
            if b"__main__" not in data:
                return data
        except _REFUSALS:
            pass
        if buffers is not None:
            del buffers[n_before:]
    return dumps_main(obj, buffers)


def dumps_main(obj: Any, buffers: list[Any] | None) -> bytes:
    """As `dumps_message`, for what plain pickle refuses or names ``__main__`` in."""
    from manyhands._pickling import main_objects

    try:
        return main_objects.dumps(obj, buffers)
    except Exception as error:
        _raise(diagnose().explain(obj, error), error)


def dumps_call(args: tuple[Any, ...], kwargs: dict[str, Any], buffers: list[Any] | None) -> bytes:
    """Pickle ``(args, kwargs)`` of a task.

    Args and errors as with `dumps`; the message speaks of "argument 2" (the first is 1) or
    "keyword argument 'x'".
    """
    return _dumps(
        (args, kwargs), buffers, False, lambda error: diagnose().explain_call(args, kwargs, error)
    )


def dumps_whole_call(
    call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]], buffers: list[Any] | None
) -> bytes:
    """Pickle ``(fn, args, kwargs)`` of a task whose callable travels with it.

    Args and errors as with `dumps_call`; a callable that cannot be pickled is explained as such.
    """
    fn, args, kwargs = call

    def explain(error: Exception) -> BaseException:
        from manyhands._pickling.diagnose import explain_call, explain_function

        try:
            dumps_unexplained(fn, None)
        except Exception as cause:
            return explain_function(fn, cause)
        return explain_call(args, kwargs, error)

    return _dumps(call, buffers, False, explain)


def dumps_chunk(items: Any, buffers: list[Any] | None) -> bytes:
    """Pickle the items that one task calls its function with, one after the other.

    Args and errors as with `dumps`; the message names the item by its index.
    """
    return _dumps(items, buffers, False, lambda error: diagnose().explain(items, error))


def run_chunk(fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """What a worker calls for a chunk whose function travels with it."""
    return list(map(fn, items))


def run_starred_chunk(fn: Callable[..., Any], items: Iterable[Iterable[Any]]) -> list[Any]:
    """As `run_chunk`; each item is the arguments of one call."""
    return list(itertools.starmap(fn, items))


def dumps_function(fn: Callable[..., Any]) -> tuple[bytes, Any]:
    """Pickle a function that is sent once per pool.

    Returns:
        The pickle and a guard. The guard is None for a function that workers import. Else give
        it to `guard_holds` before the function is used again, and send the function again when
        that is False.

    Raises: as `dumps`.

    >>> loads(dumps_function(len)[0]) is len, dumps_function(len)[1]
    (True, None)
    """
    if not any_module_by_value():
        try:
            data = pickle.dumps(fn, 5)
        except _REFUSALS:
            pass
        except Exception as error:
            _raise(diagnose().explain_function(fn, error), error)
        else:
            if b"__main__" not in data:
                return data, None
    from manyhands._pickling import by_value, captured

    # Made first: a variable rebound while the function is being pickled counts as rebound.
    guard: Any = captured.Guard(fn)
    try:
        data = by_value.dumps(fn)
    except Exception as error:
        _raise(diagnose().explain_function(fn, error), error)
    if isinstance(fn, (types.FunctionType, type)) and by_value.by_reference(fn):
        guard = None
    return data, guard


def guard_holds(fn: Callable[..., Any], guard: Any) -> bool:
    """Whether no variable that `fn` captured has been rebound since `dumps_function(fn)`.

    >>> word = "old"
    >>> def say():
    ...     return word
    >>> _, guard = dumps_function(say)
    >>> guard_holds(say, guard)
    True
    """
    return guard is None or guard.holds(fn)


def is_cacheable(fn: Any) -> bool:
    """Whether `fn` may be sent once and reused: a function, a builtin function or a class.

    Bound methods, partials and callable instances have state that may change: they travel with
    each task.
    """
    if isinstance(fn, (types.FunctionType, type)):
        return True
    if isinstance(fn, types.BuiltinFunctionType):
        return fn.__self__ is None or isinstance(fn.__self__, types.ModuleType)
    return isinstance(fn, functools._lru_cache_wrapper)


def loads(data: Any, buffers: Iterable[Any] = ()) -> Any:
    """Unpickle what `dumps` made, given its out-of-band buffers in their order."""
    return pickle.loads(data, buffers=buffers)


def register_connection_reducers() -> None:
    """Let plain pickle send multiprocessing's connections as multiprocessing itself does.

    Plain pickle would copy the bare descriptor number, which means something else in the worker.
    Cheap and idempotent; does nothing before ``multiprocessing.connection`` is imported.
    """
    connection = sys.modules.get("multiprocessing.connection")
    reduction = sys.modules.get("multiprocessing.reduction")
    if connection is None or reduction is None:
        return
    # In the module's own dictionary: for others ours may have its name.
    standard: Any = vars(connection)["Connection"]
    reducer = reduction.ForkingPickler._extra_reducers.get(standard)
    if reducer is not None:
        copyreg.pickle(standard, reducer)


def dumps_unexplained(obj: Any, buffers: list[Any] | None, to_parent: bool = False) -> bytes:
    """As `dumps`, but errors are the pickler's own: for objects that are expected to fail."""
    callback = buffers.append if buffers is not None else None
    n_before = len(buffers) if buffers is not None else 0
    if not any_module_by_value():
        try:
            data = pickle.dumps(obj, 5, buffer_callback=callback)
            if b"__main__" not in data:
                return data
        except _REFUSALS:
            pass
        if buffers is not None:
            del buffers[n_before:]
    from manyhands._pickling import by_value

    return by_value.dumps(obj, buffers, to_parent)


def _dumps(
    obj: Any,
    buffers: list[Any] | None,
    to_parent: bool,
    explain: Callable[[Exception], BaseException],
) -> bytes:
    n_before = len(buffers) if buffers is not None else 0
    try:
        return dumps_unexplained(obj, buffers, to_parent)
    except Exception as error:
        if buffers is not None:
            del buffers[n_before:]
        _raise(explain(error), error)


def _raise(explained: BaseException, error: BaseException) -> NoReturn:
    """Raise the explanation of `error`, which may be the error itself with a note."""
    if explained is error:
        raise explained
    raise explained from error


def any_module_by_value() -> bool:
    """Whether the program told cloudpickle to send some module by value."""
    module = sys.modules.get("cloudpickle.cloudpickle")
    return module is not None and bool(module._PICKLE_BY_VALUE_MODULES)


def diagnose() -> types.ModuleType:
    from manyhands._pickling import diagnose

    return diagnose


register_connection_reducers()
