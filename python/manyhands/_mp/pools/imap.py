"""``imap`` and ``imap_unordered``: results while the input is still being read.

Guarantees: an exception of the input arrives after the results of what was read before it; a task
that failed raises at its place and harms no other.

A dropped iterator: if nobody has asked it for a result, its whole input is still submitted, as in
the standard; else what has not been read is left unread, which differs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from manyhands import _runtime
from manyhands._mp.pools.input import Input
from manyhands._mp.pools.results import outcome_of, wait_for

if TYPE_CHECKING:
    from manyhands._mp.pools.pool import Pool

__all__ = ["IMapIterator", "IMapUnorderedIterator"]


class IMapIterator:
    """The results of an ``imap``, in the order of its input.

    ``next(timeout)`` waits that many seconds at most; after an item that failed, the following
    ones can still be had, also with a chunksize above 1, which the standard one does not allow.
    """

    def __init__(
        self, pool: Pool, submit: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int
    ) -> None:
        # Until the last result has been taken: a pool that is dropped ends its tasks.
        self._pool: Pool | None = pool
        self._is_chunked = chunksize > 1
        #: What is left of the chunks that were taken; several threads may take.
        self._chunk: deque[Any] = deque()
        self._futures: deque[Any] = deque()
        self._is_started = False
        self._input = Input(pool, submit, iterable, chunksize, self._placer())

    def _placer(self) -> Callable[[Any], None]:
        # Not a method: the reading thread must not keep this iterator alive.
        return self._futures.append

    def __iter__(self) -> Iterator[Any]:
        # A generator hands the items of a chunk out several times as fast as calls of `next`. What
        # it has not handed out stays with this object, as if there were no generator.
        return self._each_of_chunks() if self._is_chunked else self

    def _each_of_chunks(self) -> Iterator[Any]:
        while True:
            if self._chunk:
                try:
                    item = self._chunk.popleft()
                except IndexError:
                    continue  # Another thread was faster.
            else:
                try:
                    item = self.next()
                except StopIteration:
                    return
            yield item

    def next(self, timeout: float | None = None) -> Any:
        """Return the next result.

        Raises:
            multiprocessing.TimeoutError: it is not there within `timeout` seconds.
            StopIteration: there was none left.
            Exception: what its task raised, or the input.
        """
        self._is_started = True
        if self._chunk:
            with contextlib.suppress(IndexError):  # Another thread was faster.
                return self._chunk.popleft()
        future = self._next_future(timeout)
        self._note_taken()
        try:
            value = future.result()
        except BaseException:
            is_success, value = outcome_of(future)
            if not is_success:
                try:
                    raise value from value.__cause__
                finally:
                    del value
            # An interrupt that came after the task had ended.
            self._futures.appendleft(future)
            raise
        finally:
            # The exception refers to this frame by its traceback.
            del future
        if not self._is_chunked:
            return value
        # There is no empty chunk.
        chunk = iter(value)
        first = next(chunk)
        self._chunk.extend(chunk)
        return first

    def __next__(self) -> Any:
        return self.next()

    def _note_taken(self) -> None:
        source = self._input
        with source.changed:
            source.n_taken += 1
        if not source.has_ended:
            source.read_more()

    def _next_future(self, timeout: float | None) -> Any:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            future = self._take(end)
            if future is not None:
                return future
            self._wait_for_input(end)

    def _take(self, end: float | None) -> Any:
        """The next future once it is done; None if none has been submitted."""
        try:
            future = self._futures.popleft()
        except IndexError:
            return None
        try:
            if not future.done() and not wait_for(future, end):
                raise multiprocessing.TimeoutError
        except BaseException:
            # Out of time or interrupted: it is still the next one.
            self._futures.appendleft(future)
            raise
        return future

    def _has_futures(self) -> bool:
        return bool(self._futures)

    def _wait_for_input(self, end: float | None) -> None:
        """Wait until a task has been submitted; raise what there is to raise if none will be."""
        source = self._input
        with source.changed:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not source.changed.wait_for(lambda: source.has_ended or self._has_futures(), left):
                raise multiprocessing.TimeoutError
            if self._has_futures():
                return
            error, source.error = source.error, None
        self._pool = None
        if error is None:
            raise StopIteration
        try:
            raise error
        finally:
            del error

    def __del__(self, _is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # `__init__` may have failed half-way.
        source = getattr(self, "_input", None)
        # At the end of the interpreter the reading thread may stand still with the input locked.
        if source is None or source.has_ended or _is_finalizing():
            return
        if self._is_started:
            source.stop()
        else:
            source.read_all()


class IMapUnorderedIterator(IMapIterator):
    """The results of an ``imap_unordered``, in the order in which the tasks end."""

    def _placer(self) -> Callable[[Any], None]:
        self._gatherer = gatherer = _runtime.Gatherer()
        early = self._futures

        def place(future: Any) -> None:
            if not gatherer.add(future):
                early.append(future)  # It could not even be sent.

        return place

    def _take(self, end: float | None) -> Any:
        if self._futures:
            return self._futures.popleft()
        if not len(self._gatherer):
            return None
        future = self._gatherer.next(end)
        if future is None and end is not None and time.monotonic() >= end:
            raise multiprocessing.TimeoutError
        # None else: another thread has taken the last one.
        return future

    def _has_futures(self) -> bool:
        return bool(self._futures) or len(self._gatherer) > 0
