"""An exposed queue: one whose parts Python code uses, as it may with the standard class.

The parts are those of `queue.Queue`: the lock `mutex`; the conditions `not_empty`, `not_full` and
`all_tasks_done` on it; the container `queue`; the count `unfinished_tasks`. They lie in the
instance's namespace, where programs may also replace them. Everything here looks them up there at
each use, holds `mutex` where the standard class does, and calls the hooks `_init`, `_qsize`,
`_put` and `_get` where it does.

What it does not do: no call here may come from a destructor or signal handler that interrupts
another one, since `mutex` is an ordinary lock.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from manyhands._errors.queues import Empty, Full, ShutDown

HOOKS = ("_init", "_qsize", "_put", "_get")


# --- from native to exposed -----------------------------------------------------------------------


class Part:
    """One of the parts, as an attribute of the class: reaching for it exposes the queue.

    `peek` tells what the part would be without exposing it, for those that are only read.
    """

    def __init__(self, peek: Callable[[Any], object] | None = None) -> None:
        self._peek = peek

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, queue: Any, owner: type | None = None) -> Any:
        if queue is None:
            return self
        if not queue._is_exposed:
            if self._peek is not None:
                return self._peek(queue)
            expose(queue)
        try:
            return queue.__dict__[self._name]
        except KeyError:
            kind = type(queue).__name__
            raise AttributeError(f"{kind!r} object has no attribute {self._name!r}") from None

    def __set__(self, queue: Any, value: object) -> None:
        expose(queue)
        queue.__dict__[self._name] = value

    def __delete__(self, queue: Any) -> None:
        expose(queue)
        queue.__dict__.pop(self._name, None)


def expose(queue: Any) -> None:
    """Moves the items into the parts; they stay there for good."""
    while not queue._is_exposed:
        items, version = queue._snapshot()
        parts = new_parts()
        parts["queue"] = items if queue._order != "fifo" else deque(items)
        if queue._publish(version, queue.__dict__, parts):
            return


def set_up_subclass(queue: Any, maxsize: Any, name: str | None) -> None:
    """The `__init__` of a queue of a class that is not ours."""
    cls = type(queue)
    plain = plain_class(cls)
    queue._set_up(maxsize, name, cls.put is not plain.put, cls.get is not plain.get)
    if all(getattr(cls, hook) is getattr(plain, hook) for hook in HOOKS):
        return
    _, version = queue._snapshot()
    queue._publish(version, queue.__dict__, {})
    # In the standard's order: a hook finds the parts that were made before it is called.
    queue._init(queue.maxsize)
    queue.__dict__.update(new_parts(), unfinished_tasks=0, is_shutdown=False)


def plain_class(cls: type) -> Any:
    """Our class that `cls` is derived from."""
    return next(base for base in cls.__mro__ if base.__module__ == "manyhands.queue")


def new_parts() -> dict[str, Any]:
    """A lock and the conditions on it."""
    mutex = threading.Lock()
    return {
        "mutex": mutex,
        "not_empty": threading.Condition(mutex),
        "not_full": threading.Condition(mutex),
        "all_tasks_done": threading.Condition(mutex),
        "_n_put": 0,
        "_n_got": 0,
    }


# --- the hooks ------------------------------------------------------------------------------------


class Hooked:
    """What the hooks do if nobody overrides them."""

    if TYPE_CHECKING:
        queue: Any

        @property
        def _is_exposed(self) -> bool: ...

        def qsize(self) -> int: ...

    def _init(self, maxsize: int) -> None:
        self.queue = deque()

    def _qsize(self) -> int:
        return len(self.queue) if self._is_exposed else self.qsize()

    def _put(self, item: Any) -> None:
        self.queue.append(item)

    def _get(self) -> Any:
        return self.queue.popleft()


def make_list(self: Any, maxsize: int) -> None:
    """`_init` of a queue that is kept in a list."""
    self.queue = []


def put_at_end(self: Any, item: Any) -> None:
    """`_put` of a LifoQueue."""
    self.queue.append(item)


def get_from_end(self: Any) -> Any:
    """`_get` of a LifoQueue."""
    return self.queue.pop()


def put_into_heap(self: Any, item: Any) -> None:
    """`_put` of a PriorityQueue."""
    heapq.heappush(self.queue, item)


def get_from_heap(self: Any) -> Any:
    """`_get` of a PriorityQueue."""
    return heapq.heappop(self.queue)


# --- the methods of an exposed queue, called by the compiled ones ---------------------------------


def put(self: Any, item: Any, block: bool, timeout: float | None) -> None:
    """`Queue.put`."""
    parts = self.__dict__
    with parts["not_full"]:
        _wait_for_room(self, parts, block, timeout)
        self._put(item)
        parts["unfinished_tasks"] += 1
        parts["_n_put"] += 1
        parts["not_empty"].notify()
    self._after_put(1)


def get(self: Any, block: bool, timeout: float | None) -> Any:
    """`Queue.get`."""
    parts = self.__dict__
    with parts["not_empty"]:
        _wait_for_item(self, parts, block, timeout)
        item = self._get()
        parts["_n_got"] += 1
        parts["not_full"].notify()
    self._after_get(1)
    return item


def get_many(self: Any, n_max: int, timeout: float | None) -> list[Any]:
    """`Queue.get_many`."""
    parts = self.__dict__
    items: list[Any] = []
    with parts["not_empty"]:
        _wait_for_item(self, parts, True, timeout)
        try:
            while len(items) < n_max and self._qsize():
                items.append(self._get())
        finally:
            parts["_n_got"] += len(items)
            parts["not_full"].notify(len(items))
    self._after_get(len(items))
    return items


def _wait_for_room(self: Any, parts: dict[str, Any], block: bool, timeout: float | None) -> None:
    if parts["is_shutdown"]:
        raise ShutDown
    if self.maxsize <= 0:
        return
    end = None if timeout is None else monotonic() + timeout
    while self._qsize() >= self.maxsize:
        left = None if end is None else end - monotonic()
        if not block or (left is not None and left <= 0):
            raise Full
        parts["not_full"].wait(left)
        if parts["is_shutdown"]:
            raise ShutDown


def _wait_for_item(self: Any, parts: dict[str, Any], block: bool, timeout: float | None) -> None:
    end = None if timeout is None else monotonic() + timeout
    while not self._qsize():
        if parts["is_shutdown"]:
            raise ShutDown
        left = None if end is None else end - monotonic()
        if not block or (left is not None and left <= 0):
            raise Empty
        parts["not_empty"].wait(left)


def task_done(self: Any) -> None:
    """`Queue.task_done`."""
    parts = self.__dict__
    with parts["all_tasks_done"]:
        unfinished = parts["unfinished_tasks"] - 1
        if unfinished < 0:
            raise ValueError("task_done() called too many times")
        parts["unfinished_tasks"] = unfinished
        if unfinished == 0:
            parts["all_tasks_done"].notify_all()


def join(self: Any) -> None:
    """`Queue.join`."""
    parts = self.__dict__
    with parts["all_tasks_done"]:
        while parts["unfinished_tasks"]:
            parts["all_tasks_done"].wait()


def shutdown(self: Any, immediate: bool) -> None:
    """`Queue.shutdown`."""
    parts = self.__dict__
    with parts["mutex"]:
        parts["is_shutdown"] = True
        if immediate:
            while self._qsize():
                self._get()
                parts["_n_got"] += 1
                parts["unfinished_tasks"] = max(0, parts["unfinished_tasks"] - 1)
            parts["all_tasks_done"].notify_all()
        parts["not_empty"].notify_all()
        parts["not_full"].notify_all()


def qsize(self: Any) -> int:
    """`Queue.qsize`."""
    with self.__dict__["mutex"]:
        return int(self._qsize())


def empty(self: Any) -> bool:
    """`Queue.empty`."""
    with self.__dict__["mutex"]:
        return not self._qsize()


def full(self: Any) -> bool:
    """`Queue.full`."""
    with self.__dict__["mutex"]:
        return bool(0 < self.maxsize <= self._qsize())


def statistics(self: Any) -> dict[str, int]:
    """What `Queue.statistics` says otherwise of an exposed queue; it cannot see who waits."""
    parts = self.__dict__
    with parts["mutex"]:
        return {
            "put": parts["_n_put"],
            "got": parts["_n_got"],
            "unfinished": parts["unfinished_tasks"],
        }
