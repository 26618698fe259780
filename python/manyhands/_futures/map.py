"""``Executor.map``: results in order, with a bounded read-ahead.

Guarantees:
- at most ``window`` tasks are in flight, so inputs may be infinite;
- an item that fails raises at its place and harms no other: the iterator can be asked for the
  next one;
- a result is not referenced any more once it has been handed out;
- closing or dropping an iterator that was started cancels the rest; one that was never asked for
  a result still gets its whole input submitted (as in the standard), if the input has a length.
"""

import contextlib
import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from manyhands._futures.future import Future

__all__ = ["DEFAULT_WINDOW", "ResultIterator", "check_map_arguments", "chunks_of", "flattened"]

_T = TypeVar("_T")

#: How many tasks `map` has in flight unless ``buffersize`` says otherwise.
DEFAULT_WINDOW = 65_536


def check_map_arguments(chunksize: int, buffersize: int | None) -> None:
    """Raises what Python 3.14's ``map`` raises for a bad ``buffersize`` or ``chunksize``."""
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    if chunksize < 1:
        raise ValueError("chunksize must be >= 1.")


class ResultIterator(Iterator[_T]):
    """The results of one ``map``, in the order of its input.

    Differences from the standard module's generator: it goes on after an item that raised, and
    ``timeout`` of the ``map`` being over cancels all items, as there.
    """

    __slots__ = (
        "__weakref__",
        "_arguments",
        "_end_time",
        "_futures",
        "_is_sized",
        "_is_started",
        "_submit",
    )

    def __init__(
        self,
        submit: Callable[..., Future[_T]],
        iterables: tuple[Iterable[Any], ...],
        window: int,
        timeout: float | None,
        is_sized: bool,
    ) -> None:
        self._end_time = None if timeout is None else timeout + time.monotonic()
        self._futures: deque[Future[_T]] = deque()
        self._is_started = False
        self._is_sized = is_sized
        self._arguments: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
        self._submit: Callable[..., Future[_T]] | None = submit
        for args in itertools.islice(self._arguments, min(window, sys.maxsize)):
            self._futures.append(submit(*args))
        if len(self._futures) < window:
            self._forget_input()

    def __iter__(self) -> "ResultIterator[_T]":
        return self

    def __next__(self) -> _T:
        self._is_started = True
        futures = self._futures
        if not futures:
            raise StopIteration
        if self._submit is not None:
            self._submit_next()
        future = futures.popleft()
        try:
            if self._end_time is None:
                return future.result()
            return future.result(self._end_time - time.monotonic())
        finally:
            if not future.done():
                # The map's own time is over, or the wait was interrupted: nobody waits for this
                # one any more, nor for those behind it.
                future.cancel()
                self.close()
            # A future that failed refers to this frame by its traceback.
            del future, futures

    def close(self) -> None:
        """Cancels what has not been handed out."""
        self._is_started = True
        self._forget_input()
        futures, self._futures = self._futures, deque()
        for future in futures:
            future.cancel()

    @property
    def has_unsubmitted_input(self) -> bool:
        """Whether nobody has asked for a result and input is left that must be submitted."""
        return self._submit is not None and not self._is_started and self._is_sized

    def submit_rest(self) -> None:
        """Submits the input that is left, all of it."""
        while self._submit is not None:
            self._submit_next()

    def _submit_next(self) -> None:
        args = next(self._arguments, None)
        if args is None or self._submit is None:
            self._forget_input()
        else:
            self._futures.append(self._submit(*args))

    def _forget_input(self) -> None:
        # Without input left, the iterator must not keep the executor alive.
        self._submit = None
        self._arguments = iter(())

    def __del__(self) -> None:
        # `__init__` may have failed half-way.
        if getattr(self, "_submit", None) is not None and self.has_unsubmitted_input:
            # An executor that was shut down or broke meanwhile takes none of it.
            with contextlib.suppress(RuntimeError):
                self.submit_rest()
        elif getattr(self, "_is_started", False):
            self.close()


def chunks_of(items: Iterator[Any], chunksize: int) -> Iterable[tuple[Any, ...]]:
    """The items, `chunksize` of them at a time."""
    chunksize = min(chunksize, sys.maxsize)  # Nothing is longer.
    while chunk := tuple(itertools.islice(items, chunksize)):
        yield chunk


def flattened(chunks: Any) -> Iterator[_T]:
    """The items of chunks of results, one by one."""
    try:
        for chunk in chunks:
            chunk.reverse()
            while chunk:
                yield chunk.pop()
    finally:
        chunks.close()
