"""``ThreadPoolExecutor``: Python threads whose loop is Rust.

Guarantees: the signature and the behaviour of `concurrent.futures.ThreadPoolExecutor`; threads
are named, seen by `threading.enumerate()`, started on demand, reused when idle.
"""

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from manyhands._futures import chained
from manyhands._futures.executor import Executor
from manyhands._runtime import ThreadPoolCore
from manyhands._worker import interpreter_exit
from manyhands._worker.cpu_count import usable_cpus

__all__ = ["ThreadPoolExecutor"]

_STOP_PATIENCE = 0.2


class ThreadPoolExecutor(ThreadPoolCore, Executor):
    """Runs calls in a pool of threads.

    Args:
        max_workers: the most threads; None: processors this process may use + 4, at most 32.
        thread_name_prefix: threads are named ``PREFIX_0``, ``PREFIX_1``, ...
        initializer: called first in each thread. If it raises, the pool is broken.
        initargs: its arguments.
        stack_size: bytes of stack of each thread (see `threading.stack_size`); None: the default.

    Raises:
        ValueError: max_workers is not positive, or the system refuses stack_size.
        TypeError: initializer is not callable.

    Mirrors https://docs.python.org/3/library/concurrent.futures.html#threadpoolexecutor.
    Differences: futures can be cancelled while they run and can be awaited; ``options()``;
    ``statistics()``; ``map`` reads ahead a bounded number of items; ``stack_size``; a task that
    waits for a task of its own pool is helped along; worker threads are daemons that the end of
    the interpreter waits for, unless the program ends by Ctrl-C.

    >>> with ThreadPoolExecutor(max_workers=2) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        stack_size: int | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = min(32, usable_cpus() + 4)
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        max_workers = min(max_workers, sys.maxsize)
        self._set_up(max_workers, thread_name_prefix, initializer, tuple(initargs), stack_size)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuses further tasks and frees the threads once the queued ones are done.

        Args:
            wait: return only when all tasks are done and all threads have ended.
            cancel_futures: cancel the tasks that have not started.

        Raises:
            KeyboardInterrupt: on Ctrl-C while waiting; running tasks are interrupted then.
        """
        if not cancel_futures and not self._shutdown:
            self._submit_waiting_maps()
        self._close(cancel_futures)
        if not wait:
            return
        chained.pass_cancels_on()
        try:
            interpreter_exit.join_threads(self._threads)
        except KeyboardInterrupt:
            self._stop_now()
            raise

    def _stop_now(self) -> None:
        """Cancels what waits, interrupts what runs, and waits a moment for the threads."""
        self._stop_all()
        interpreter_exit.join_threads(self._threads, deadline=time.monotonic() + _STOP_PATIENCE)

    def __repr__(self) -> str:
        numbers = self.statistics()
        state = "broken" if self._broken else "shut down" if self._shutdown else "open"
        return (
            f"<{type(self).__name__} {state}: {numbers['workers']} of {numbers['max_workers']} "
            f"threads, {numbers['queued']} tasks waiting>"
        )


ThreadPoolExecutor.__module__ = "manyhands.futures"
