"""``Executor.map``: results in order, with a bounded read-ahead.

Guarantees:
- at most ``window`` tasks are in flight, so inputs may be infinite;
- an item that fails raises at its place and harms no other: the iterator can be asked for the
  next one;
- a result is not referenced any more once it has been handed out;
- closing or dropping an iterator that was started cancels the rest; one that was never asked for
  a result still gets its whole input submitted (as in the standard), if the input has a length;
- a shutdown takes nothing away that the standard would give: input that has a length is submitted
  before it, or cancelled with what waits; what was computed can still be had;
- nobody is told at a collection that the executor takes no more tasks: there is nobody to act on
  it.
"""

import itertools
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any, NoReturn, TypeVar

from ._future import Future

__all__ = ["DEFAULT_WINDOW", "ResultIterator", "check_map_arguments", "submit_waiting_input"]

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


def submit_waiting_input() -> None:
    """Before the interpreter ends: what the standard has submitted by now is submitted."""
    for reference in _waiting.valuerefs():
        results = reference()
        if results is not None and results.has_unsubmitted_input:
            results.submit_rest()


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
        "_input_lock",
        "_is_sized",
        "_is_started",
        "_pid",
        "_refusal",
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
        self._pid = os.getpid()
        #: What is raised after the last future, if that was not all.
        self._refusal: Exception | None = None
        self._arguments: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
        #: For who asks for a result while another thread shuts down: the order is the input's.
        self._input_lock = threading.RLock()
        for args in itertools.islice(self._arguments, window):
            self._futures.append(submit(*args))
        self._submit: Callable[..., Future[_T]] | None = submit
        if len(self._futures) < window:
            self._forget_input()
        elif is_sized:
            _waiting[id(self)] = self

    def __iter__(self) -> "ResultIterator[_T]":
        return self

    def __next__(self) -> _T:
        self._is_started = True
        futures = self._futures
        if self._submit is not None:
            self._submit_next()
        if not futures:
            self._raise_refusal()
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
        self._refusal = None
        futures, self._futures = self._futures, deque()
        for future in futures:
            future.cancel()

    @property
    def has_unsubmitted_input(self) -> bool:
        """Whether input is left that must be submitted before a shutdown."""
        return self._submit is not None and self._is_sized and self._pid == os.getpid()

    def submit_rest(self) -> None:
        """Submits the input that is left, all of it."""
        while self._submit is not None:
            self._submit_next()

    def cancel_rest(self) -> None:
        """What is left of the input is not submitted: asking for it raises CancelledError."""
        with self._input_lock:
            if self._submit is not None:
                self._forget_input()
                self._refusal = CancelledError()

    def _submit_next(self) -> None:
        with self._input_lock:
            submit = self._submit
            try:
                args = next(self._arguments, None)
                if args is not None and submit is not None:
                    self._futures.append(submit(*args))
                    return
            except Exception as error:
                # The input failed, or the executor takes no more: what was taken comes first.
                self._refusal = error
            self._forget_input()

    def _raise_refusal(self) -> NoReturn:
        """There is no future left: that was all, or the executor took no more."""
        refusal, self._refusal = self._refusal, None
        if refusal is None:
            raise StopIteration
        try:
            raise refusal
        finally:
            del refusal

    def _forget_input(self) -> None:
        # Without input left, the iterator must not keep the executor alive.
        self._submit = None
        self._arguments = iter(())

    def __del__(
        self,
        _getpid: Callable[[], int] = os.getpid,
        _is_finalizing: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        # `__init__` may have failed half-way; a parent's tasks are not a child's; and when the
        # interpreter ends, all that there was to do has been done.
        if not hasattr(self, "_submit") or self._pid != _getpid() or _is_finalizing():
            return
        if self._is_started:
            self.close()
        elif self.has_unsubmitted_input:
            self.submit_rest()
            if self._refusal is not None and not isinstance(self._refusal, RuntimeError):
                raise self._refusal  # The input's: an error that nobody else will tell of.


#: Those that have input left that must be submitted before the interpreter ends.
_waiting: "weakref.WeakValueDictionary[int, ResultIterator[Any]]" = weakref.WeakValueDictionary()
