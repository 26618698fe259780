"""``Future``: the compiled core, in the clothes of `concurrent.futures.Future`.

Guarantees: ``isinstance(f, concurrent.futures.Future)``; the standard ``wait``,
``as_completed``, ``asyncio.wrap_future`` and ``loop.run_in_executor`` accept it, also while it
is being completed; it is awaitable.

The standard functions look at private attributes: they acquire ``_condition``, read ``_state``
and append to ``_waiters``, and rely on the state standing still meanwhile. Ours never stands
still for anybody, so the condition remembers, for the thread that holds it, the state it had when
it was acquired: that thread reads that state, and a waiter it appends is told of every later
change exactly once.
"""

import concurrent.futures
import threading
import weakref
from collections.abc import Callable, Generator
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from manyhands import _runtime
from manyhands._runtime import FutureCore

__all__ = ["Future"]

_T = TypeVar("_T")

_DONE_STATES = ("CANCELLED_AND_NOTIFIED", "FINISHED")
_core_state = FutureCore.__dict__["_state"].__get__


class Future(FutureCore, concurrent.futures.Future[_T]):
    """The result of a task, before it is there.

    It has every method of `concurrent.futures.Future`. Differences from the standard class:

    - ``cancel(running=True, grace=0.1)`` also ends a task that runs. The future is cancelled at
      once; the body gets ``grace`` seconds to leave. In a thread, `Cancelled` is raised at its
      next bytecode; a body that sits in C code leaves when that returns. Plain ``cancel()``
      returns False for a running task, as in the standard.
    - ``await future`` waits for it in asyncio; cancelling the awaiting task stops this one.
    - ``name`` and ``statistics()`` say what is known of the task.

    >>> future = Future()
    >>> future.set_result(42)
    >>> future.result(timeout=1)
    42
    """

    def __init__(self) -> None:
        # Everything is done by FutureCore.__new__; the standard __init__ must not run.
        pass

    if TYPE_CHECKING:
        # The compiled methods, with the type that the compiled class cannot have.
        def result(self, timeout: float | None = None) -> _T: ...
        def set_result(self, result: _T, /) -> None: ...
        def add_done_callback(self, fn: Callable[["Future[_T]"], object], /) -> None: ...

    def __await__(self) -> Generator[Any, None, _T]:
        """Waits for the task in the running asyncio event loop."""
        # Not at the top: programs without an event loop need not load asyncio.
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        state = _core_state(self).lower().replace("_and_notified", "")
        outcome = self._outcome_class() if state == "finished" else None
        shown = f"{state} {' '.join(outcome)}" if outcome else state
        name = f" name={self.name!r}" if self.name is not None else ""
        return f"<{type(self).__name__} at {id(self):#x} state={shown}{name}>"

    def set_running_or_notify_cancel(self) -> bool:
        """Marks the future as running; returns False if it was cancelled.

        Raises RuntimeError if it runs or is done. For those who write executors.
        """
        try:
            return super().set_running_or_notify_cancel()
        except RuntimeError:
            concurrent.futures._base.LOGGER.critical(
                "Future %s in unexpected state: %s", id(self), self._state
            )
            raise

    @property
    def _state(self) -> str:
        condition = self.__dict__.get("_held_condition")
        if condition is not None and condition.holder == get_ident():
            return str(condition.frozen_state)
        return str(_core_state(self))

    @_state.setter
    def _state(self, state: str) -> None:
        condition = self.__dict__.get("_held_condition")
        if condition is not None and condition.holder == get_ident():
            condition.frozen_state = condition.next_state = state
        elif state != _core_state(self):
            self._force_state(state)

    @property
    def _condition(self) -> "_Condition":  # type: ignore[override]  # made when asked for
        condition: _Condition = self.__dict__.setdefault("_held_condition", _Condition(self))
        return condition

    @property
    def _waiters(self) -> "_Waiters":  # type: ignore[override]  # not a list, but used as one
        return _Waiters(self)

    @property
    def _done_callbacks(self) -> list[Any]:
        return []


class _Condition(threading.Condition):
    """A condition that shows its holder the future's state as it was when it was acquired."""

    _lock: Any  # The base class's own.

    def __init__(self, future: Future[Any]) -> None:
        super().__init__(threading.RLock())  # It is `_lock` from now on.
        # The base class puts the lock's own methods into the instance, in front of ours.
        self.__dict__.pop("acquire", None)
        self.__dict__.pop("release", None)
        self._future = weakref.ref(future)
        self._depth = 0
        self.holder: int | None = None
        self.frozen_state: str | None = None
        self.next_state: str | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        acquired = bool(self._lock.acquire(blocking, timeout))
        if acquired:
            self._freeze()
        return acquired

    def release(self) -> None:
        self._thaw()
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def wait(self, timeout: float | None = None) -> bool:
        depth, self._depth = self._depth, 1
        self._thaw()
        try:
            return super().wait(timeout)
        finally:
            self._freeze()
            self._depth = depth

    def _freeze(self) -> None:
        self._depth += 1
        if self._depth == 1:
            future = self._future()
            self.frozen_state = None if future is None else _core_state(future)
            self.holder = get_ident()

    def _thaw(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.holder = None
            state, self.next_state = self.next_state, None
            future = self._future()
            if state is not None and future is not None:
                future._state = state


class _Waiters:
    """The list of waiters as the standard functions use it: append and remove."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def __len__(self) -> int:
        return self._future._n_waiters()

    def append(self, waiter: object) -> None:
        condition: _Condition | None = self._future.__dict__.get("_held_condition")
        was_done = (
            condition is not None
            and condition.holder == get_ident()
            and condition.frozen_state in _DONE_STATES
        )
        self._future._add_waiter(waiter, was_done)

    def remove(self, waiter: object) -> None:
        self._future._remove_waiter(waiter)


_runtime.set_future_class(Future)
Future.__module__ = "manyhands.futures"
