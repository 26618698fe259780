"""`Queue`, `LifoQueue`, `PriorityQueue`: the compiled queues in standard clothes.

Guarantees: `isinstance(q, queue.Queue)` holds with the standard class (and so on); subclasses that
override `_init`, `_qsize`, `_put` or `_get`, and programs that use `mutex`, `not_empty`,
`not_full`, `all_tasks_done`, `queue` or `unfinished_tasks`, find what they expect. Such a queue is
*exposed*: from then on it runs on `thread_queue_hooks`, in Python and slower than the standard.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from manyhands._drop_in import std_queue as standard
from manyhands._errors.queues import ShutDown
from manyhands._queues import thread_queue_async, thread_queue_hooks
from manyhands._queues.thread_queue_hooks import Hooked, Part
from manyhands._runtime import QueueCore

__all__ = ["LifoQueue", "PriorityQueue", "Queue"]

_T = TypeVar("_T")


class Queue(QueueCore, Hooked, standard.Queue[_T]):
    """A queue between threads: first in, first out, for at most `maxsize` items.

    A `maxsize` of zero or less sets no limit; `name` is shown by `repr` and in deadlock reports.

    It has every method of `queue.Queue`. Differences from the standard class:

    - `shutdown()` and `ShutDown` exist on every Python, not only since 3.13.
    - `get_many(max, timeout)` and `put_many(items, timeout)` move several items at once.
    - ``for item in q`` gets items until the queue is shut down and empty; so does ``async for``.
    - ``await q.aget()`` and ``await q.aput(item)`` wait in asyncio and trio, together with threads.
    - `statistics()`, and a `repr` that says what is in it and who waits.
    - All methods may be called from destructors and signal handlers at any time.
    - A wait without a timeout that nobody is left to end raises DeadlockError or is reported.
    - `maxsize` must be a number: the standard class notices later.
    - Pickling and copying say why not.

    >>> q = Queue(maxsize=2)
    >>> q.put("rice")
    >>> q.put_nowait("beans")
    >>> q.get(timeout=1)
    'rice'
    >>> q.shutdown()
    >>> list(q)
    ['beans']
    """

    _order: ClassVar[str] = "fifo"

    if TYPE_CHECKING:
        is_shutdown: bool
    else:
        mutex = Part()
        not_empty = Part()
        not_full = Part()
        all_tasks_done = Part()
        queue = Part()
        unfinished_tasks = Part(peek=lambda q: q._n_unfinished)
        is_shutdown = Part(peek=lambda q: q._is_shut_down)

    def __init__(self, maxsize: int = 0, *, name: str | None = None) -> None:
        if type(self) in _PLAIN:
            self._set_up(maxsize, name, False, False)
        else:
            thread_queue_hooks.set_up_subclass(self, maxsize, name)

    def __iter__(self) -> Iterator[_T]:
        """Gets items, waiting for them, until the queue is shut down and empty.

        Whoever wants `join()` to end calls `task_done()` for each.

        >>> q = Queue()
        >>> q.put_many("ab")
        >>> q.shutdown()
        >>> for item in q:
        ...     print(item)
        a
        b
        """
        while True:
            try:
                item = self.get()
            except ShutDown:
                return
            yield item

    async def __aiter__(self) -> AsyncIterator[_T]:
        """The same for ``async for``."""
        while True:
            try:
                item = await self.aget()
            except ShutDown:
                return
            yield item

    async def aget(self) -> _T:
        """Gets an item, waiting for it in the running event loop.

        Any loop of asyncio or trio will do, in any thread, while other threads put and get. A
        coroutine that is cancelled takes no item. Raises `ShutDown` once the queue is shut down
        and empty. The standard class has no such method.

        >>> import asyncio
        >>> q = Queue()
        >>> q.put("rice")
        >>> asyncio.run(q.aget())
        'rice'
        """
        item: _T = await thread_queue_async.get(self)
        return item

    async def aput(self, item: _T) -> None:
        """Puts `item`, waiting for room in the running event loop.

        As `aget`; a coroutine that is cancelled has put nothing. Raises `ShutDown` if the queue
        is shut down.

        >>> import asyncio
        >>> q = Queue(maxsize=1)
        >>> asyncio.run(q.aput("rice"))
        >>> q.get()
        'rice'
        """
        await thread_queue_async.put(self, item)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name is not None else ""
        limit = f" of {self.maxsize}" if self.maxsize > 0 else ""
        n_items = self.qsize()
        parts = [f"{n_items}{limit} item{'' if n_items == 1 and not limit else 's'}"]
        statistics = self.statistics()
        if statistics["getters_waiting"]:
            parts.append(f"{statistics['getters_waiting']} waiting to get")
        if statistics["putters_waiting"]:
            parts.append(f"{statistics['putters_waiting']} waiting to put")
        if self.is_shutdown:
            parts.append("shut down")
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{kind}{name} at {id(self):#x}: {', '.join(parts)}>"

    __class_getitem__: Any = classmethod(GenericAlias)

    if TYPE_CHECKING:
        # The compiled methods, with the types that the compiled class cannot have.
        def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None: ...
        def get(self, block: bool = True, timeout: float | None = None) -> _T: ...
        def put_nowait(self, item: _T) -> None: ...
        def get_nowait(self) -> _T: ...
        def put_many(self, items: Iterable[_T], timeout: float | None = None) -> None: ...
        def get_many(self, max: int, timeout: float | None = None) -> list[_T]: ...  # noqa: A002


class LifoQueue(Queue[_T], standard.LifoQueue[_T]):
    """A queue from which the item that was put last is got first; else as `Queue`.

    >>> q = LifoQueue()
    >>> q.put_many([1, 2, 3])
    >>> q.get_many(2)
    [3, 2]
    """

    _order = "lifo"
    _init = thread_queue_hooks.make_list
    _put = thread_queue_hooks.put_at_end
    _get = thread_queue_hooks.get_from_end


class PriorityQueue(Queue[_T], standard.PriorityQueue[_T]):  # type: ignore[type-var]  # any item
    """A queue from which the smallest item is got first; else as `Queue`.

    Items are compared with ``<``, in Python. Using the same queue from there, or from a
    destructor or signal handler that interrupts it there, raises RuntimeError, where the standard
    class waits for itself for ever.

    >>> q = PriorityQueue()
    >>> q.put_many([(2, "beans"), (1, "rice")])
    >>> q.get()
    (1, 'rice')
    """

    _order = "priority"
    _init = thread_queue_hooks.make_list
    _put = thread_queue_hooks.put_into_heap
    _get = thread_queue_hooks.get_from_heap


_PLAIN = frozenset[type[Any]]({Queue, LifoQueue, PriorityQueue})

for _class in _PLAIN:
    _class.__module__ = "manyhands.queue"
