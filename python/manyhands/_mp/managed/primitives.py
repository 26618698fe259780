"""Managed locks, semaphores, conditions, events, barriers and queues.

Each is one of `manyhands.multiprocessing` with the manners of the standard manager's: what it
accepts, and what it raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from multiprocessing import managers as _standard_module
from typing import Any

from manyhands._mp.context import _ours
from manyhands._mp.managed.base import ManagedObject

__all__ = ["AcquirerProxy", "BarrierProxy", "ConditionProxy", "EventProxy", "QueueProxy"]

_standard: Any = _standard_module


class Primitive(ManagedObject):
    """A managed object that is little more than a shared primitive."""

    def __init__(self, primitive: Any, typeid: str) -> None:
        self._primitive = primitive
        self._typeid = typeid

    def __reduce__(self) -> Any:
        return type(self), (self._primitive, self._typeid)

    def _copied(self) -> Any:
        return self._primitive

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError(f"a managed {self._typeid} cannot be copied, only shared: pass it as it is")


@contextlib.contextmanager
def _threading_errors(typeid: str) -> Iterator[None]:
    """Managed locks raise what those of `threading` raise."""
    try:
        yield
    except (ValueError, AssertionError) as error:
        if typeid not in ("Lock", "RLock"):
            raise
        is_lock = typeid == "Lock"
        text = "release unlocked lock" if is_lock else "cannot release un-acquired lock"
        raise RuntimeError(text) from error


class AcquirerProxy(Primitive, _standard.AcquirerProxy):  # type: ignore[misc]
    """A managed Lock, RLock, Semaphore or BoundedSemaphore.

    >>> from manyhands.multiprocessing import Manager
    >>> with Manager().Lock() as taken:
    ...     print(taken)
    True
    """

    _exposed_: tuple[str, ...] = ("acquire", "release")

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Takes it; False if it could not be had at once (not `blocking`) or in `timeout` s."""
        if timeout is not None and timeout < 0:
            # The locks of `threading` mean "for ever" by that.
            timeout = None
        taken: bool = self._primitive.acquire(blocking, timeout)
        return taken

    def release(self) -> None:
        """Gives it back.

        Raises:
            RuntimeError: the lock is not held; of an RLock: not by the caller.
            ValueError: the BoundedSemaphore was not acquired as often.
        """
        with _threading_errors(self._typeid):
            self._primitive.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class ConditionProxy(AcquirerProxy, _standard.ConditionProxy):  # type: ignore[misc]
    """A managed Condition.

    >>> from manyhands.multiprocessing import Manager
    >>> condition = Manager().Condition()
    >>> with condition:
    ...     condition.wait(timeout=0.01)
    False
    """

    _exposed_ = ("acquire", "release", "wait", "notify", "notify_all")

    def wait(self, timeout: float | None = None) -> bool:
        """Sleeps until it is notified; False after `timeout` seconds.

        Raises:
            RuntimeError: the caller does not hold the lock.
        """
        with self._must_hold("wait on"):
            notified: bool = self._primitive.wait(timeout)
        return notified

    def notify(self, n: int = 1) -> None:
        """Wakes `n` of those who wait."""
        with self._must_hold("notify on"):
            self._primitive.notify(n)

    def notify_all(self) -> None:
        """Wakes all who wait."""
        with self._must_hold("notify on"):
            self._primitive.notify_all()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Sleeps until `predicate` is true, at most `timeout` seconds; what it returned last."""
        with self._must_hold("wait on"):
            return self._primitive.wait_for(predicate, timeout)

    @contextlib.contextmanager
    def _must_hold(self, what: str) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            raise RuntimeError(f"cannot {what} un-acquired lock") from error


class EventProxy(Primitive, _standard.EventProxy):  # type: ignore[misc]
    """A managed Event.

    >>> from manyhands.multiprocessing import Manager
    >>> event = Manager().Event()
    >>> event.set()
    >>> event.wait()
    True
    """

    _exposed_ = ("is_set", "set", "clear", "wait")

    def is_set(self) -> bool:
        """Whether it is set."""
        is_set: bool = self._primitive.is_set()
        return is_set

    def set(self) -> None:
        """Sets it, and wakes all who wait."""
        self._primitive.set()

    def clear(self) -> None:
        """Takes that back."""
        self._primitive.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Sleeps until it is set; False after `timeout` seconds."""
        is_set: bool = self._primitive.wait(timeout)
        return is_set


class BarrierProxy(Primitive, _standard.BarrierProxy):  # type: ignore[misc]
    """A managed Barrier.

    >>> from manyhands.multiprocessing import Manager
    >>> Manager().Barrier(1).wait()
    0
    """

    _exposed_ = ("__getattribute__", "wait", "abort", "reset")

    def wait(self, timeout: float | None = None) -> int:
        """Sleeps until all parties have come; the number of this one.

        Raises:
            threading.BrokenBarrierError: it is broken, or is reset meanwhile.
        """
        number: int = self._primitive.wait(timeout)
        return number

    def abort(self) -> None:
        """Breaks it."""
        self._primitive.abort()

    def reset(self) -> None:
        """Makes it whole again; who waits gets an error."""
        self._primitive.reset()

    @property
    def parties(self) -> int:
        """How many have to come."""
        parties: int = self._primitive.parties
        return parties

    @property
    def n_waiting(self) -> int:
        """How many have come."""
        n_waiting: int = self._primitive.n_waiting
        return n_waiting

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        broken: bool = self._primitive.broken
        return broken


class QueueProxy(Primitive):
    """A managed Queue or JoinableQueue; both have `task_done` and `join`.

    >>> from manyhands.multiprocessing import Manager
    >>> queue = Manager().Queue()
    >>> queue.put("first")
    >>> queue.get()
    'first'
    """

    _exposed_ = (
        "empty", "full", "get", "get_nowait", "join", "put", "put_nowait", "qsize", "shutdown",
        "task_done",
    )  # fmt: skip

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Adds an item; waits for room at most `timeout` seconds.

        Raises:
            queue.Full: there was no room in time.
        """
        self._primitive.put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Takes an item; waits for one at most `timeout` seconds.

        Raises:
            queue.Empty: there was none in time.
        """
        return self._primitive.get(block, timeout)

    def put_nowait(self, item: Any) -> None:
        """`put` without waiting."""
        self._primitive.put(item, False)

    def get_nowait(self) -> Any:
        """`get` without waiting."""
        return self._primitive.get(False)

    def qsize(self) -> int:
        """How many items there are."""
        n_items: int = self._primitive.qsize()
        return n_items

    def empty(self) -> bool:
        """Whether there is none."""
        empty: bool = self._primitive.empty()
        return empty

    def full(self) -> bool:
        """Whether there is no room."""
        full: bool = self._primitive.full()
        return full

    def task_done(self) -> None:
        """An item that was taken has been dealt with.

        Raises:
            ValueError: more often than items were taken.
        """
        self._primitive.task_done()

    def join(self) -> None:
        """Waits until all items have been dealt with."""
        self._primitive.join()

    def shutdown(self, immediate: bool = False) -> None:
        """Ends the queue: nothing more can be put, and not be got once it is empty.

        Args:
            immediate: drop what is in it.
        """
        self._primitive.shutdown(immediate)


def acquirer(typeid: str, *args: Any) -> AcquirerProxy:
    """A managed lock or semaphore."""
    return AcquirerProxy(_make("synchronize", typeid, *args), typeid)


def condition(lock: Any = None) -> ConditionProxy:
    """A managed condition, over a managed lock or a new one."""
    inner = lock._primitive if isinstance(lock, AcquirerProxy) else lock
    return ConditionProxy(_make("synchronize", "Condition", inner), "Condition")


def event() -> EventProxy:
    """A managed event."""
    return EventProxy(_make("synchronize", "Event"), "Event")


def barrier(parties: int, action: Any = None, timeout: float | None = None) -> BarrierProxy:
    """A managed barrier."""
    return BarrierProxy(_make("synchronize", "Barrier", parties, action, timeout), "Barrier")


def queue(typeid: str, maxsize: int = 0) -> QueueProxy:
    """A managed queue."""
    return QueueProxy(_make("queues", "JoinableQueue", maxsize), typeid)


def _make(module: str, name: str, *args: Any) -> Any:
    from manyhands._mp.context import _default_context

    return _ours(module, name)(*args, ctx=_default_context.get_context())
