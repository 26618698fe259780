"""What both executors share: ``map``, ``options``, the context manager.

A subclass has ``submit`` and one primitive, ``_submit(fn, args, kwargs, timeout, name)``; both
return a `Future`. It also has ``shutdown(wait, cancel_futures)`` and ``_stop_now()``.

Guarantees: one Ctrl-C ends a ``with`` block: what waits is cancelled, what runs is interrupted,
and KeyboardInterrupt goes on.
"""

import concurrent.futures
import functools
import weakref
from collections.abc import Sized

from ._map import DEFAULT_WINDOW, ResultIterator, check_map_arguments

__all__ = ["Executor"]


class Executor(concurrent.futures.Executor):
    """The base of `ThreadPoolExecutor` and `ProcessPoolExecutor`."""

    def map(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None):
        """Returns an iterator over ``fn`` of each item, computed in parallel.

        Args:
            fn: called with one item of each iterable.
            timeout: seconds from this call until ``next()`` raises TimeoutError; None: no limit.
            chunksize: how many items go to a process at a time; ignored for threads.
            buffersize: how many items may be in flight; None: 65,536.

        Raises:
            TimeoutError: from ``next()``, when ``timeout`` is over; everything is cancelled.
            Exception: from ``next()``, what ``fn`` raised for that item. The iterator can be
                asked for the next item afterwards, which the standard one cannot.

        Unlike the standard ``map``, at most ``buffersize`` results are computed ahead, so the
        iterables may be infinite.

        >>> from manyhands.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(2) as pool:
        ...     list(pool.map(pow, [2, 3], [5, 2]))
        [32, 9]
        """
        check_map_arguments(chunksize, buffersize)
        return self._map(functools.partial(self.submit, fn), iterables, timeout, buffersize)

    def _map(self, submit, iterables, timeout, buffersize):
        window = DEFAULT_WINDOW if buffersize is None else buffersize
        is_sized = buffersize is None and any(isinstance(each, Sized) for each in iterables)
        results = ResultIterator(submit, iterables, window, timeout, is_sized)
        if results.has_unsubmitted_input:
            self.__dict__.setdefault("_waiting_maps", weakref.WeakSet()).add(results)
        return results

    def _submit_waiting_maps(self):
        """Submits the input of maps that nobody has asked for a result, before a shutdown."""
        for results in list(self.__dict__.get("_waiting_maps", ())):
            if results.has_unsubmitted_input:
                results.submit_rest()

    def options(self, *, timeout=None, name=None):
        """Returns a view of this executor that gives these options to each task.

        Args:
            timeout: seconds a task may run, counted from its start. A task that runs longer is
                stopped and its future raises TimeoutError.
            name: the tasks' name in reports, reprs and errors.

        The view has ``submit``, ``map``, ``shutdown`` and everything else of an executor; it
        shares the workers. The standard module has nothing like it.

        >>> from manyhands.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(1) as pool:
        ...     pool.options(timeout=5, name="sum").submit(sum, [1, 2]).result()
        3
        """
        from ._options import OptionsView

        return OptionsView(self, timeout=timeout, name=name)

    def __exit__(self, exc_type, exc_value, traceback):
        if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
            self._stop_now()
        else:
            self.shutdown(wait=True)
        return False
