"""Coroutines that wait for a queue between processes, in asyncio and in trio.

Coroutines wait in the lines of `thread_queue_async`; whoever puts or gets in the same process
calls them. For what other processes do, a queue has a *watcher* while coroutines wait for it: a
daemon thread that sleeps in the queue's own line, with everybody else of the family, and passes
each call on to the longest waiting coroutine. It takes no item, so a coroutine that is cancelled,
or a process that ends, loses none. With the last coroutine it goes. If it cannot be, or fails,
nobody relies on it: the coroutines try for themselves, and raise what is wrong.
"""

import threading
from typing import Any

from manyhands._queues import thread_queue_async
from manyhands._queues.thread_queue_async import _Line, _Sleeper

# How long a watcher without coroutines may sleep on: it is a daemon, and stays for the next one.
_SLICE = 0.2


class _WatchedLine(_Line):
    """A line with a watcher while somebody is in it."""

    def __init__(self, count: Any, wait: Any, pass_on: Any) -> None:
        super().__init__(count)
        self._wait = wait
        self._pass_on = pass_on
        self._mutex = threading.Lock()
        self._is_watched = False
        # Set when a coroutine has come, or one that was called has looked.
        self._has_moved = threading.Event()

    def enlist(self, sleeper: _Sleeper) -> None:
        super().enlist(sleeper)
        self._has_moved.set()
        with self._mutex:
            if self._is_watched:
                return
            self._is_watched = True
        try:
            threading.Thread(target=self._watch, name="queue watcher", daemon=True).start()
        except BaseException:
            self.leave(sleeper)
            self._be_unwatched()
            raise

    def leave(self, sleeper: _Sleeper) -> bool:
        was_waiting = super().leave(sleeper)
        self._has_moved.set()
        return was_waiting

    def _watch(self) -> None:
        try:
            self._pass_calls_on()
        except BaseException:
            self._be_unwatched()
            raise

    def _be_unwatched(self) -> None:
        with self._mutex:
            self._is_watched = False
        # Whoever has come meanwhile relied on the watcher: it looks for itself, and tries again.
        self.call(None)

    def _pass_calls_on(self) -> None:
        while True:
            with self._mutex:
                if not self._sleepers:
                    self._is_watched = False
                    break
            if not self._wait(_SLICE):
                continue
            self._has_moved.clear()
            self.call(1)
            # The one that was called gets its item, or finds that somebody else has it.
            self._has_moved.wait(_SLICE)
        # A call may have come for a coroutine that did not want it any more.
        self._pass_on()


class Waiters(thread_queue_async.Waiters):
    """The coroutines of this process that wait for one queue."""

    def _begin(self) -> None:
        queue = self._queue
        self.getters = _WatchedLine(queue._count_getters, queue._wait_for_item, queue._pass_on)
        self.putters = _WatchedLine(queue._count_putters, queue._wait_for_room, queue._pass_on)


async def get(queue: Any) -> Any:
    """`Queue.aget`."""
    return await thread_queue_async.get(queue, Waiters)


async def put(queue: Any, item: Any) -> None:
    """`Queue.aput`."""
    await thread_queue_async.put(queue, item, Waiters)
