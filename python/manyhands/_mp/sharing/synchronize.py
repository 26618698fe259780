"""Locks and their kin between processes: faces for what lies in the family heap.

Guarantees: the signatures and errors of `multiprocessing.synchronize`; each may be pickled to any
process of the family; all work between the threads of one process as well; a process that dies
with a lock leaves it to the next one (`owner_died.py`).

Does not do: name its objects in the file system, or need a resource tracker.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import current_process
from typing import Any, TypeVar

from manyhands import _runtime
from manyhands._mp.sharing import owner_died
from manyhands._threads import deadlock

__all__ = [
    "SEM_VALUE_MAX",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "SemLock",
    "Semaphore",
]

T = TypeVar("T")

#: The most permits a semaphore may have.
SEM_VALUE_MAX = 2**31 - 1

# Used when a wait lasts or a death is told: then nothing must be imported any more.
_ = (owner_died, deadlock)


def process_and_thread_names() -> tuple[str, str]:
    """What the calling process and thread are called."""
    return current_process().name, threading.current_thread().name


def _owner_name() -> str:
    process, thread = process_and_thread_names()
    return process if thread == "MainThread" else f"{process}|{thread}"


class SemLock:
    """The base class of the locks and semaphores here, for `isinstance`."""

    __slots__ = ()

    @classmethod
    def _open(cls, handle: bytes) -> Any:
        """The object of that name, in any process of the family."""
        make: Any = cls.__new__
        return make(cls, _handle=handle)

    @property
    def _semlock(self) -> Any:
        """Libraries look there for `_is_mine`, `_count` and `_get_value`."""
        return self


class Lock(_runtime.SharedLock, SemLock):
    """A lock that processes share; any thread of any process may release it.

    Args:
        ctx: As in the standard class: ignored.
        owner_died: What the next owner gets if this one's process ends with the lock: ``"warn"``,
            ``"raise"`` or ``"ignore"``; None: what `set_owner_died_mode` says.
        name: What reports call it; at most 64 bytes.

    Mirrors `multiprocessing.Lock`. Differences: it may be sent anywhere in the family; it outlives
    its owner; a deadlock between processes raises `DeadlockError`; ``owner_died`` and ``name``.

    >>> lock = Lock(name="balance")
    >>> with lock:
    ...     lock.locked()
    True
    """

    __slots__ = ()

    def __repr__(self) -> str:
        try:
            if self._is_mine():
                name = _owner_name()
            elif not self.locked():
                name = "None"
            else:
                name = "SomeOtherThread" if self._count() else "SomeOtherProcess"
        except Exception:
            name = "unknown"
        return f"<{type(self).__name__}(owner={name})>"


class RLock(_runtime.SharedRLock, SemLock):
    """A lock that processes share and its owner may acquire again; only the owner releases it.

    Arguments and differences from `multiprocessing.RLock` are those of `Lock`.

    >>> lock = RLock()
    >>> with lock, lock:
    ...     lock
    <RLock(MainProcess, 2)>
    """

    __slots__ = ()

    def __repr__(self) -> str:
        name, count = "unknown", "unknown"
        try:
            if self._is_mine():
                name, count = _owner_name(), str(self._count())
            elif not self.locked():
                name, count = "None", "0"
            else:
                name = "SomeOtherThread" if self._count() else "SomeOtherProcess"
                count = "nonzero"
        except Exception:
            name, count = "unknown", "unknown"
        return f"<{type(self).__name__}({name}, {count})>"


class Semaphore(_runtime.SharedSemaphore, SemLock):
    """A number of permits that processes share.

    Args:
        value: The number to start with.
        ctx: As in the standard class: ignored.

    Raises:
        ValueError: `value` is negative, or above `SEM_VALUE_MAX`.

    Mirrors `multiprocessing.Semaphore`. Permits that a process has when it dies stay taken: any
    process may release, so nobody knows whether that one would have.

    >>> semaphore = Semaphore(2)
    >>> with semaphore:
    ...     semaphore.get_value()
    1
    """

    __slots__ = ()

    def _get_value(self) -> int:
        return self.get_value()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()})>"


class BoundedSemaphore(Semaphore):
    """A semaphore that is not released more often than acquired.

    As `Semaphore`; one release too many raises ValueError.

    >>> BoundedSemaphore(1).release()
    Traceback (most recent call last):
        ...
    ValueError: semaphore or lock released too many times
    """

    __slots__ = ()

    def __new__(
        cls, value: int = 1, *, ctx: Any = None, _handle: bytes | None = None
    ) -> BoundedSemaphore:
        return super().__new__(cls, value, ctx=ctx, _is_bounded=True, _handle=_handle)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()}, maxvalue={self._maxvalue})>"


class Condition:
    """A condition that processes share.

    Args:
        lock: A `Lock` or `RLock` of this module; a new RLock if None.
        ctx: As in the standard class: ignored.

    Mirrors `multiprocessing.Condition`. Differences: exactly the `n` that waited longest are
    notified; a process that died while it waited takes no notification.

    >>> condition = Condition()
    >>> with condition:
    ...     condition.wait(timeout=0.001)
    False
    """

    def __init__(self, lock: Any = None, *, ctx: Any = None) -> None:
        self._lock = lock or RLock()
        self._waiters = _runtime.SharedWaiters()
        self._make_methods()

    def _make_methods(self) -> None:
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __getstate__(self) -> Any:
        return self._lock, self._waiters

    def __setstate__(self, state: Any) -> None:
        self._lock, self._waiters = state
        self._make_methods()

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *args: object) -> None:
        self._lock.__exit__(*args)

    def wait(self, timeout: float | None = None) -> bool:
        """Releases the lock, waits for a notification, and acquires the lock again.

        Args:
            timeout: Seconds to wait at most; None: for ever.

        Returns: whether it was notified.

        Raises:
            AssertionError: the caller does not have the lock.
            RuntimeError: more than 2,000 threads wait.
        """
        return self._waiters.wait(self._lock, timeout)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Waits until `predicate()` is true; returns what it returned last.

        Args:
            predicate: Called with the lock held.
            timeout: Seconds to wait at most; None: for ever.
        """
        result = predicate()
        deadline = None if timeout is None else time.monotonic() + timeout
        while not result:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Notifies the `n` that have waited longest.

        Raises:
            AssertionError: the caller does not have the lock.
        """
        self._waiters.notify(self._lock, max(0, min(n, sys.maxsize)))

    def notify_all(self) -> None:
        """Notifies all that wait."""
        self.notify(sys.maxsize)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock}, {self._waiters.count()})>"


class Event(_runtime.SharedEvent):
    """A flag that processes share.

    Mirrors `multiprocessing.Event`. Difference: who waits when it is set goes on, even if it is
    cleared at once.

    >>> event = Event()
    >>> event.set()
    >>> event.wait()
    True
    """

    @classmethod
    def _open(cls, handle: bytes) -> Any:
        return cls.__new__(cls, _handle=handle)

    def __repr__(self) -> str:
        state = "set" if self.is_set() else "unset"
        return f"<{type(self).__qualname__} at {id(self):#x} {state}>"


class Barrier:
    """A number of processes, or threads of them, that wait for each other.

    Args:
        parties: How many must come.
        action: Called by the last that comes, before the others go on; it must be picklable if the
            barrier is sent to another process.
        timeout: The default of `wait`, in seconds; None: for ever.
        ctx: As in the standard class: ignored.

    Raises:
        ValueError: `parties` is less than 1.

    Mirrors `multiprocessing.Barrier`. Differences: the barrier breaks if a process dies, or a wait
    is interrupted, while it waits there; the others get BrokenBarrierError.

    >>> barrier = Barrier(1)
    >>> barrier.wait()
    0
    """

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: Any = None,
    ) -> None:
        self._core = _runtime.SharedBarrier(parties)
        self._action = action
        self._timeout = timeout

    def wait(self, timeout: float | None = None) -> int:
        """Waits until all have come.

        Args:
            timeout: Seconds to wait at most; None: the barrier's own.

        Returns: how many came before, so each of a round gets another number, from 0 up.

        Raises:
            BrokenBarrierError: it was broken or reset, a process died in it, or time was up.
        """
        return self._core.wait(self._action, self._timeout if timeout is None else timeout)

    def reset(self) -> None:
        """Begins anew; who waits gets BrokenBarrierError."""
        self._core.reset()

    def abort(self) -> None:
        """Breaks the barrier: who waits, or comes, gets BrokenBarrierError until it is reset."""
        self._core.abort()

    @property
    def parties(self) -> int:
        """How many must come."""
        return self._core.parties

    @property
    def n_waiting(self) -> int:
        """How many have come."""
        return self._core.n_waiting

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._core.broken

    def __repr__(self) -> str:
        cls = type(self)
        state = "broken" if self.broken else f"waiters={self.n_waiting}/{self.parties}"
        return f"<{cls.__module__}.{cls.__qualname__} at {id(self):#x}: {state}>"


for _public in (Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, SemLock, Semaphore):
    _public.__module__ = "manyhands.multiprocessing.synchronize"
del _public
