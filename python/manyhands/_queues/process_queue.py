"""`Queue`, `JoinableQueue`, `SimpleQueue` between processes: compiled, in standard clothes.

Guarantees: an item is pickled where it is put, and is in the queue when `put` returns; there is no
feeder thread, so `close`, `join_thread` and `cancel_join_thread` have nothing to wait for, and no
process hangs at its exit because a queue is not drained. A queue may be sent to any process of the
family, at any time.

What cannot be pickled raises in `put`. Only a program that was written for the standard module
finds what it expects there (a traceback on standard error, and the item is dropped): one that
overrides `_on_queue_feeder_error`, or in which the standard names are ours.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from manyhands._errors.queues import Empty, Full, ShutDown
from manyhands._queues import process_queue_async
from manyhands._runtime import SharedQueueCore

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "ShutDown", "SimpleQueue"]

_T = TypeVar("_T")

# As the standard class: `_maxsize` of a queue without a limit.
_NO_LIMIT = 2**31 - 1


class _Shared(SharedQueueCore):
    """What all three have."""

    _is_simple: ClassVar[bool] = False

    def _refuse(self, error: BaseException, obj: object) -> None:
        """An item could not be pickled."""
        raise error

    def __repr__(self) -> str:
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        if self._closed:
            return f"<{kind} closed>"
        n_items, limit = self.qsize(), self._limit
        items = "item" if n_items == 1 and not limit else "items"
        parts = [f"{n_items} of {limit} {items}" if limit else f"{n_items} {items}"]
        seen = self.statistics()
        if seen["getters_waiting"]:
            parts.append(f"{seen['getters_waiting']} waiting to get")
        if seen["putters_waiting"]:
            parts.append(f"{seen['putters_waiting']} waiting to put")
        if self.is_shutdown:
            parts.append("shut down")
        return f"<{kind} {self._id:#x}: {', '.join(parts)}>"

    __class_getitem__: Any = classmethod(GenericAlias)


class Queue(_Shared):
    """A queue between processes: first in, first out, for at most `maxsize` items.

    A `maxsize` of zero or less sets no limit. `ctx` is accepted as in the standard class and not
    needed. Mirrors
    https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Queue; differences:

    - An item is there for everybody when `put` returns; nothing has to be flushed or joined. Items
      put by different processes have one order, in which all get them.
    - What cannot be pickled raises in `put`, and nothing is put.
    - The queue may be pickled: into another queue, a pipe, a task, a managed value.
    - A process that is killed takes along at most the item it was just getting or putting.
    - `qsize()` works everywhere, and `empty()` and `full()` are exact at the moment of the call.
    - `get_many(max, timeout)`, `put_many(items, timeout)`, `shutdown(immediate)`, `statistics()`,
      ``for item in queue``, ``await queue.aget()``, ``await queue.aput(item)``: as
      `manyhands.queue.Queue` has them. If an item of a `get_many` cannot be unpickled, the
      exception has those that can, in order, as its `items`.
    - Large buffers (NumPy arrays) are copied once, into shared memory, and used there by whoever
      gets them.

    >>> queue = Queue(maxsize=2)
    >>> queue.put("rice")
    >>> queue.put_nowait("beans")
    >>> queue.full()
    True
    >>> queue.get(timeout=1)
    'rice'
    >>> queue.shutdown()
    >>> list(queue)
    ['beans']
    """

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        self._set_up(max(maxsize, 0))

    @property
    def _maxsize(self) -> int:
        return self._limit or _NO_LIMIT

    def join_thread(self) -> None:
        """Returns at once: no thread works for the queue, which must be closed.

        >>> queue = Queue(); queue.close(); queue.join_thread()
        """
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Does nothing: no process waits for the queue at its exit, and no item is lost by it.

        >>> Queue().cancel_join_thread()
        """

    def __iter__(self) -> Iterator[Any]:
        """Gets items, waiting for them, until the queue is shut down and empty.

        >>> queue = Queue()
        >>> queue.put_many("ab"); queue.shutdown()
        >>> [item for item in queue]
        ['a', 'b']
        """
        while True:
            try:
                item = self.get()
            except ShutDown:
                return
            yield item

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The same for ``async for``."""
        while True:
            try:
                item = await self.aget()
            except ShutDown:
                return
            yield item

    async def aget(self) -> Any:
        """Gets an item, waiting for it in the running event loop of asyncio or trio.

        A coroutine that is cancelled takes no item. Raises `ShutDown` once the queue is shut down
        and empty. The standard class has no such method.

        >>> import asyncio
        >>> queue = Queue()
        >>> queue.put("rice")
        >>> asyncio.run(queue.aget())
        'rice'
        """
        return await process_queue_async.get(self)

    async def aput(self, item: Any) -> None:
        """Puts `item`, waiting for room in the running event loop; as `aget`.

        >>> import asyncio
        >>> queue = Queue(maxsize=1)
        >>> asyncio.run(queue.aput("rice"))
        >>> queue.get()
        'rice'
        """
        await process_queue_async.put(self, item)

    def _refuse(self, error: BaseException, obj: object) -> None:
        if not isinstance(error, Exception):
            raise error
        is_overridden = type(self)._on_queue_feeder_error is not Queue._on_queue_feeder_error
        if is_overridden or _stands_in():
            self._on_queue_feeder_error(error, obj)
            return
        raise error

    @staticmethod
    def _on_queue_feeder_error(e: Exception, obj: object) -> None:
        """The standard class calls this where it cannot pickle `obj`."""
        traceback.print_exception(e)

    if TYPE_CHECKING:

        def put_many(self, items: Iterable[Any], timeout: float | None = None) -> None: ...


class JoinableQueue(Queue):
    """A `Queue` whose getters report each item as done, and whose putters can wait for that.

    Mirrors
    https://docs.python.org/3/library/multiprocessing.html#multiprocessing.JoinableQueue. An item
    that was lost with a killed process stays undone, as in the standard class.

    >>> queue = JoinableQueue()
    >>> queue.put("rice")
    >>> queue.get()
    'rice'
    >>> queue.task_done()
    >>> queue.join()
    """


class SimpleQueue(_Shared):
    """A queue without a limit, with nothing but `put`, `get`, `empty` and `close`.

    Mirrors
    https://docs.python.org/3/library/multiprocessing.html#multiprocessing.SimpleQueue; a `put`
    never waits for a reader.

    >>> queue = SimpleQueue()
    >>> queue.put("rice")
    >>> queue.get()
    'rice'
    >>> queue.empty()
    True
    """

    _is_simple = True

    def __init__(self, *, ctx: Any = None) -> None:
        self._set_up(0)

    def put(self, obj: Any) -> None:  # type: ignore[override]  # as the standard class has it
        """Puts `obj` into the queue.

        >>> queue = SimpleQueue(); queue.put(1); queue.get()
        1
        """
        super().put(obj)

    def get(self) -> Any:  # type: ignore[override]  # as the standard class has it
        """Gets an item, waiting for one.

        >>> queue = SimpleQueue(); queue.put(1); queue.get()
        1
        """
        return super().get()


def _stands_in() -> bool:
    """Whether the standard names are ours: then the program was written for the standard module."""
    standard = sys.modules.get("multiprocessing.queues")
    return getattr(standard, "Queue", None) is Queue


for _class in (Queue, JoinableQueue, SimpleQueue):
    _class.__module__ = "manyhands.multiprocessing.queues"
