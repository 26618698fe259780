"""How the exception of a task travels from a worker to the parent.

Exceptions are the objects that most often pickle and then cannot be unpickled: a class whose
``__init__`` takes other arguments than ``args`` holds, or that has a lock or a socket as an
attribute. The worker therefore tries the journey first and sends the most faithful form that
survives it:

    the exception as it pickles
    → the same class, made without its ``__init__``, with ``args`` and the attributes that travel
    → a `RemoteError` that names the class, the message and the reason

Guarantees: the parent always gets an exception, of the original class where that is possible, a
fresh one for each future, with the worker's traceback as its ``__cause__``.

Does not do: send ``__cause__`` and ``__context__`` as objects; they are in the traceback's text.
"""

from __future__ import annotations

import io
import pickle
import re
import traceback
from typing import Any

from manyhands._errors.tasks import RemoteError

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_TEXT_LIMIT_CHARS = 10_000


def dumps_exception(exc: BaseException) -> bytes:
    """Pickle what a task raised, for `loads_exception`. Called in the worker; never fails.

    Args:
        exc: the exception; it loses its traceback, which holds the frames of the task alive.
    """
    text = _formatted(exc)
    try:
        exc.__traceback__ = None
    except Exception:
        pass  # A hostile class; only the memory of its frames is at stake.
    packed = _pack(exc)
    return pickle.dumps((packed, text, _type_name(exc), _message(exc)), 5)


def loads_exception(data: Any) -> BaseException:
    """The exception that `dumps_exception` packed: another object at each call.

    Its ``__cause__`` is the standard module's ``_RemoteTraceback`` with the worker's traceback.
    An exception that survived the journey in the worker and cannot be unpickled here becomes an
    `UnpicklableResult` that names it.
    """
    from concurrent.futures import process

    packed, text, type_name, message = pickle.loads(data)
    exc: BaseException
    try:
        exc = pickle.loads(packed)
        if not isinstance(exc, BaseException):
            raise pickle.UnpicklingError(f"it arrived as {type(exc).__name__!r} object")
    except Exception as error:
        exc = _unpicklable(type_name, message, error)
    remote_traceback: Any = process._RemoteTraceback
    exc.__cause__ = remote_traceback(f'\n"""\n{text}"""')
    return exc


def _unpicklable(type_name: str, message: str, error: Exception) -> BaseException:
    from manyhands._errors.pools import UnpicklableResult

    explained: BaseException = UnpicklableResult(
        f"the task raised {type_name}: {message}; this exception cannot be unpickled here: "
        f"{type(error).__name__}: {_message(error)}; give its class a __reduce__ that matches "
        f"its __init__, and make sure that its module can be imported here"
    )
    return explained


def _pack(exc: BaseException) -> bytes:
    """The pickle of the most faithful form of `exc` that survives a round trip."""
    packed, reason = _try(exc, exc)
    if packed is not None:
        return packed
    for form in (_regrouped, _rebuildable):
        try:
            stand_in = form(exc)
        except Exception:
            continue
        if stand_in is not None:
            packed, _ = _try(stand_in, exc)
            if packed is not None:
                return packed
    return pickle.dumps(RemoteError(_type_name(exc), _message(exc), reason), 5)


def _try(form: Any, exc: BaseException) -> tuple[bytes | None, str]:
    """Pickle `form` and check that it comes back as `exc`. Returns the pickle, or why not."""
    try:
        packed = _dumps(form)
        copy = pickle.loads(packed)
    except Exception as error:
        return None, f"{type(error).__name__}: {_message(error)}"
    if type(copy) is not type(exc):
        return None, f"unpickling it gives {_type_name(copy)}"
    if isinstance(form, _Rebuilt) and form.incomplete:
        return packed, ""
    if _comparable(copy) != _comparable(exc) or len(copy.args) != len(exc.args):
        return None, "unpickling it gives another message"
    return packed, ""


def _dumps(form: Any) -> bytes:
    from manyhands._pickling.codec import dumps_unexplained

    return dumps_unexplained(form, None, True)


def _comparable(exc: BaseException) -> str:
    return _ADDRESS.sub("0x", _message(exc))


class _Rebuilt:
    """Pickles as instructions to make an exception without calling its ``__init__``."""

    def __init__(
        self,
        exc: BaseException,
        args: tuple[Any, ...],
        attributes: dict[str, Any],
        incomplete: bool,
    ) -> None:
        self._parts = type(exc), args, attributes
        self.incomplete = incomplete

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self._parts


def _rebuild(
    cls: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException:
    try:
        exc = cls.__new__(cls, *args)
    except Exception:
        exc = BaseException.__new__(cls)
    exc.args = args
    for name, value in attributes.items():
        BaseException.__setattr__(exc, name, value)
    return exc


def _rebuildable(exc: BaseException) -> _Rebuilt:
    """`exc` without its ``__init__`` and without the parts that cannot be pickled."""
    stayed: list[str] = []
    attributes = {}
    for name, value in {**_slot_values(exc), **exc.__dict__}.items():
        reason = _refusal(value)
        if reason is None:
            attributes[name] = value
        else:
            stayed.append(f"attribute .{name}: {reason}")
    args = []
    for number, value in enumerate(exc.args):
        reason = _refusal(value)
        args.append(value if reason is None else _shown(value))
        if reason is not None:
            stayed.append(f"args[{number}] is its repr: {reason}")
    if stayed:
        note = "not all of this exception could be sent from the worker: " + "; ".join(stayed)
        attributes["__notes__"] = [*attributes.get("__notes__", ()), note]
    return _Rebuilt(exc, tuple(args), attributes, bool(stayed))


def _slot_values(exc: BaseException) -> dict[str, Any]:
    """Values of the ``__slots__`` that the classes of `exc` declare."""
    values = {}
    for cls in type(exc).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            try:
                values[name] = getattr(exc, name)
            except AttributeError:
                continue
    return {name: value for name, value in values.items() if not name.startswith("__")}


def _regrouped(exc: BaseException) -> BaseException | None:
    """An exception group whose members are those that travel; None for other exceptions."""
    if not isinstance(exc, BaseExceptionGroup):
        return None
    group = exc.derive([_travelling(member) for member in exc.exceptions])
    if type(group) is not type(exc):
        return None
    for note in getattr(exc, "__notes__", ()):
        group.add_note(note)
    return group


def _travelling(exc: BaseException) -> BaseException:
    # A copy that came back from its pickle can be pickled again; a rebuilt one as instructions.
    return _Travelling(exc) if _try(exc, exc)[0] is None else exc


class _Travelling(Exception):
    """Pickles as the most faithful form of the exception it holds."""

    def __init__(self, exc: BaseException) -> None:
        super().__init__(exc)
        self._exc = exc

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (_pack(self._exc),)


def _refusal(value: Any) -> str | None:
    """Why `value` does not travel; None if it does."""
    try:
        pickle.loads(_dumps(value))
    except Exception as error:
        return _message(error)
    return None


def _formatted(exc: BaseException) -> str:
    try:
        file = io.StringIO()
        traceback.print_exception(type(exc), exc, exc.__traceback__, file=file)
        return file.getvalue()
    except Exception as error:
        return f"{_type_name(exc)} (its traceback cannot be formatted: {_type_name(error)})\n"


def _type_name(exc: BaseException) -> str:
    cls = type(exc)
    name = cls.__qualname__
    return name if cls.__module__ == "builtins" else f"{cls.__module__}.{name}"


def _message(exc: BaseException) -> str:
    try:
        return str(exc)[:_TEXT_LIMIT_CHARS]
    except Exception as error:
        return f"<its message cannot be shown: {type(error).__name__}>"


def _shown(value: Any) -> str:
    try:
        return repr(value)[:_TEXT_LIMIT_CHARS]
    except Exception:
        return f"<{type(value).__name__!r} object>"
