"""``ApplyResult`` and ``MapResult``: what the asynchronous calls of a pool return.

Guarantees: a result is ready once every task of it is done and its callback has returned; the
first failure in the order of the input is what `get` raises; callbacks run one after the other in
a thread of their own, so that a slow one delays no result that has no callback.

Does not do: call a callback for tasks that were taken back by `Pool.terminate`.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from manyhands import _runtime

if TYPE_CHECKING:
    from manyhands._mp.pools.pool import Pool

__all__ = ["ApplyResult", "AsyncResult", "MapResult", "PoolTerminated", "outcome_of", "wait_for"]


class ApplyResult:
    """The result of one task, before it is there.

    Mirrors https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.AsyncResult.
    Differences: the result of a task whose worker died raises `manyhands.WorkerCrashed`, and one
    whose pool was terminated `PoolTerminated`; the standard ones are never ready.

    >>> from manyhands.multiprocessing.pool import ThreadPool
    >>> with ThreadPool(1) as pool:
    ...     pool.apply_async(pow, (2, 5)).get(timeout=10)
    32
    """

    def __init__(
        self,
        pool: Pool,
        futures: Sequence[Any],
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:
        # As long as nobody has seen the end: a pool that is dropped ends its tasks.
        self._pool: Pool | None = pool
        self._futures: Sequence[Any] = futures
        self._n_done = 0
        self._outcome: tuple[bool, Any] | None = None
        self._called_back: threading.Event | None = None
        if callback is not None or error_callback is not None:
            self._called_back = threading.Event()
            self._watch(functools.partial(self._call_back, callback, error_callback))

    def ready(self) -> bool:
        """Whether the result is there."""
        return self._wait(0)

    def successful(self) -> bool:
        """Whether the task ended without an exception.

        Raises:
            ValueError: it has not ended.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._settled()[0]

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there, at most `timeout` seconds."""
        self._wait(timeout)

    def get(self, timeout: float | None = None) -> Any:
        """Return the result, waiting for it at most `timeout` seconds.

        Raises:
            multiprocessing.TimeoutError: it is not there in time.
            Exception: what the task raised.
        """
        if not self._wait(timeout):
            raise multiprocessing.TimeoutError
        is_success, value = self._settled()
        if is_success:
            return value
        try:
            raise value
        finally:
            # The exception refers to this frame by its traceback.
            del value

    def _wait(self, timeout: float | None) -> bool:
        """Whether everything is done, after at most `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        if self._outcome is None and not self._wait_for_tasks(end):
            return False
        if self._called_back is not None:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not self._called_back.wait(left):
                return False
        self._settled()
        self._pool = None
        return True

    def _wait_for_tasks(self, end: float | None) -> bool:
        futures = self._futures
        for index in range(self._n_done, len(futures)):
            future = futures[index]
            if not future.done() and not wait_for(future, end):
                return False
            self._n_done = index + 1
        return True

    def _settled(self) -> tuple[bool, Any]:
        """The outcome of tasks that are all done."""
        outcome = self._outcome
        if outcome is None:
            outcome = self._outcome = self._collect(self._futures)
            # What the futures hold is freed, or belongs to whoever has the outcome.
            self._futures = ()
        return outcome

    def _collect(self, futures: Sequence[Any]) -> tuple[bool, Any]:
        if not futures:
            # Another thread has collected them since.
            return self._outcome or (True, None)
        return outcome_of(futures[0])

    # --- callbacks ------------------------------------------------------------------------------

    def _watch(self, deliver: Callable[[], None]) -> None:
        """Have `deliver` called, in the thread of callbacks, when the last task is done.

        Called when a task ends; most often that was the last one.
        """
        for future in reversed(self._futures):
            if not future.done():
                future.add_done_callback(lambda _: self._watch(deliver))
                return
        # Also if this is that thread already: in the order of ending, and not inside `cancel`.
        _runtime.call_soon(deliver)

    def _call_back(
        self,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        assert self._called_back is not None
        try:
            is_success, value = self._settled()
            call = callback if is_success else error_callback
            if call is not None and not self._was_taken_back():
                call(value)
        finally:
            self._called_back.set()
            self._pool = None

    def _was_taken_back(self) -> bool:
        outcome = self._outcome
        return outcome is not None and not outcome[0] and isinstance(outcome[1], PoolTerminated)

    __class_getitem__: Any = classmethod(types.GenericAlias)


AsyncResult = ApplyResult


class MapResult(ApplyResult):
    """The results of many tasks in the order of their input, as one list."""

    def __init__(
        self,
        pool: Pool,
        futures: Sequence[Any],
        are_chunks: bool,
        *,
        input_error: BaseException | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._are_chunks = are_chunks
        self._input_error = input_error
        if not futures and input_error is None:
            # As in the standard: no task, no callback.
            callback = error_callback = None
        super().__init__(pool, futures, callback, error_callback)

    def _collect(self, futures: Sequence[Any]) -> tuple[bool, Any]:
        if not futures and self._outcome is not None:
            return self._outcome
        values: list[Any] = []
        try:
            if self._are_chunks:
                for future in futures:
                    values += future.result()
            else:
                values = [future.result() for future in futures]
        except BaseException:
            for future in futures:
                outcome = outcome_of(future)
                if not outcome[0]:
                    return outcome
            raise  # None of them has failed: this was an interrupt of ours.
        if self._input_error is not None:
            return False, self._input_error
        return True, values


class PoolTerminated(multiprocessing.ProcessError):
    """The pool was terminated before this task ended. The standard result is never there then."""


PoolTerminated.__module__ = "manyhands.multiprocessing.pool"


def outcome_of(future: Any) -> tuple[bool, Any]:
    """``(True, result)`` or ``(False, exception)`` of a future that is done."""
    if future.cancelled():
        return False, PoolTerminated(
            "the pool was terminated before this task ended: call close() and join() before "
            "terminate(), or before the end of the with block, to have its result"
        )
    error = future.exception()
    if error is None:
        return True, future.result()
    process = sys.modules.get("concurrent.futures.process")
    cause = error.__cause__
    if process is not None and type(cause) is process._RemoteTraceback:
        from manyhands._mp.pools.pool import RemoteTraceback

        error.__cause__ = RemoteTraceback(cause.tb)
    return False, error


def wait_for(future: Any, end: float | None) -> bool:
    """Whether `future` is done, after waiting for it until `end` of `time.monotonic()`."""
    left = None if end is None else end - time.monotonic()
    if left is not None and left <= 0:
        return False
    try:
        # Makes the result an object as well, while later tasks are still running.
        future.exception(left)
    except CancelledError:
        pass
    except TimeoutError:
        return bool(future.done())
    return True
