"""Coroutines that wait for a queue, in asyncio and in trio, together with threads.

A coroutine that finds the queue empty (or full) takes a place in a line, looks once more, and
sleeps in its event loop. Whoever puts (or gets) an item, in whatever thread, calls the first in
line by way of its loop; it then tries again. So no item is in anybody's hands meanwhile: a
coroutine that is cancelled loses none, and if it was called already it passes the call on.

A forked child has none of them: coroutines and event loops stay with the parent.

What it does not do: no polling, and no thread that waits for a coroutine.
"""

import os
import sys
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from manyhands._errors.queues import Empty, Full


class _Sleeper(Protocol):
    """A coroutine that can be woken from any thread."""

    async def sleep(self) -> None: ...

    def wake(self) -> None:
        """Raises RuntimeError if its event loop is gone."""


class _Line:
    """Coroutines that wait for one thing, the longest waiting first."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._sleepers: deque[_Sleeper] = deque()
        self._count = count

    def enlist(self, sleeper: _Sleeper) -> None:
        self._sleepers.append(sleeper)
        self._count(1)

    def leave(self, sleeper: _Sleeper) -> bool:
        """Gives the place up; false if the sleeper was called already."""
        try:
            self._sleepers.remove(sleeper)
        except ValueError:
            return False
        self._count(-1)
        return True

    def call(self, n: int | None) -> None:
        """Wakes the first `n`, or all."""
        n_called = 0
        while n is None or n_called < n:
            try:
                sleeper = self._sleepers.popleft()
            except IndexError:
                return
            self._count(-1)
            try:
                sleeper.wake()
            except RuntimeError:
                continue  # Its event loop is closed: it will never run.
            n_called += 1


class Waiters:
    """The coroutines that wait for one queue."""

    getters: _Line
    putters: _Line

    def __init__(self, queue: Any) -> None:
        # It would keep the queue alive, but so do the coroutines that wait.
        self._queue = queue
        self._begin()
        _everybody.add(self)

    def _begin(self) -> None:
        self.getters = _Line(self._queue._count_getters)
        self.putters = _Line(self._queue._count_putters)

    def forget(self) -> None:
        """In a forked child: those who wait are the parent's."""
        self._begin()
        self._queue._forget_coroutines()

    def call_getters(self, n: int) -> None:
        self.getters.call(n)

    def call_putters(self, n: int) -> None:
        self.putters.call(n)

    def call_all(self, _n: int) -> None:
        self.getters.call(None)
        self.putters.call(None)


# A child of a fork looks here for what it has to forget.
_everybody: weakref.WeakSet[Waiters] = weakref.WeakSet()


def _forget_all() -> None:
    for waiters in list(_everybody):
        waiters.forget()


os.register_at_fork(after_in_child=_forget_all)


async def get(queue: Any, waiters: Callable[[Any], Any] = Waiters) -> Any:
    """`Queue.aget`; `waiters` makes the lines of a queue that has none yet."""
    while True:
        try:
            return queue.get_nowait()
        except Empty:
            pass
        line = queue._waiters(waiters).getters
        sleeper = _new_sleeper()
        line.enlist(sleeper)
        try:
            item = queue.get_nowait()
        except Empty:
            await _sleep_in(line, sleeper)
        except BaseException:
            _give_up(line, sleeper)
            raise
        else:
            _give_up(line, sleeper)
            return item


async def put(queue: Any, item: Any, waiters: Callable[[Any], Any] = Waiters) -> None:
    """`Queue.aput`; as `get`."""
    while True:
        try:
            queue.put_nowait(item)
            return
        except Full:
            pass
        line = queue._waiters(waiters).putters
        sleeper = _new_sleeper()
        line.enlist(sleeper)
        try:
            queue.put_nowait(item)
        except Full:
            await _sleep_in(line, sleeper)
        except BaseException:
            _give_up(line, sleeper)
            raise
        else:
            _give_up(line, sleeper)
            return


async def _sleep_in(line: _Line, sleeper: _Sleeper) -> None:
    try:
        await sleeper.sleep()
    except BaseException:
        _give_up(line, sleeper)
        raise


def _give_up(line: _Line, sleeper: _Sleeper) -> None:
    if not line.leave(sleeper):
        line.call(1)


def _new_sleeper() -> _Sleeper:
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        return _AsyncioSleeper(asyncio._get_running_loop())
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return _TrioSleeper(trio)
    raise RuntimeError("aget() and aput() wait in a running event loop of asyncio or trio")


class _AsyncioSleeper:
    """Sleeps on a future of its loop."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._future = loop.create_future()

    async def sleep(self) -> None:
        await self._future

    def wake(self) -> None:
        # Also in the loop's own thread: a signal handler there may have interrupted its sleep.
        self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class _TrioSleeper:
    """Sleeps on an event of its run."""

    def __init__(self, trio: Any) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    async def sleep(self) -> None:
        await self._event.wait()

    def wake(self) -> None:
        self._token.run_sync_soon(self._event.set)
