"""What both executors share: ``map``, ``options``, the context manager.

A subclass has ``submit`` and one primitive, ``_submit(fn, args, kwargs, timeout, name)``; both
return a `Future`. It also has ``shutdown(wait, cancel_futures)`` and ``_stop_now()``.

Guarantees: one Ctrl-C ends a ``with`` block: what waits is cancelled, what runs is interrupted,
and KeyboardInterrupt goes on.
"""

import concurrent.futures
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from manyhands._futures.future import Future
from manyhands._futures.map import (
    DEFAULT_WINDOW,
    ResultIterator,
    check_map_arguments,
    chunks_of,
    flattened,
)

if TYPE_CHECKING:
    from manyhands._futures.options import OptionsView

__all__ = ["Executor"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Executor(concurrent.futures.Executor):
    """The base of `ThreadPoolExecutor` and `ProcessPoolExecutor`."""

    #: Whether one task can compute many items.
    _takes_chunks = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Schedules ``fn(*args, **kwargs)`` and returns its `Future`.

        Raises:
            RuntimeError: after `shutdown`, and when the interpreter is ending.

        >>> from manyhands.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(1) as pool:
        ...     pool.submit(pow, 2, 5).result()
        32
        """
        raise NotImplementedError

    def _submit(
        self,
        fn: Callable[..., _T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
        timeout: float | None,
        name: str | None,
    ) -> Future[_T]:
        raise NotImplementedError

    def _stop_now(self) -> None:
        raise NotImplementedError

    def statistics(self) -> dict[str, Any]:
        """Returns numbers about the workers and tasks of this executor."""
        raise NotImplementedError

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[_T]:
        """Returns an iterator over ``fn`` of each item, computed in parallel.

        Args:
            fn: called with one item of each iterable.
            *iterables: where the items come from; the shortest one ends the map.
            timeout: seconds from this call until ``next()`` raises TimeoutError; None: no limit.
            chunksize: how many items one task computes in a process; ignored for threads. Results
                arrive a chunk at a time then, and an item that raises hides the rest of its chunk.
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
        if chunksize == 1 or not self._takes_chunks:
            return self._map(functools.partial(self.submit, fn), iterables, timeout, buffersize)
        starred = len(iterables) != 1
        items = zip(*iterables, strict=False) if starred else iter(iterables[0])
        if buffersize is not None:
            buffersize = max(1, buffersize // chunksize)
        submit = functools.partial(self._submit_items, fn, starred, None, None)
        return flattened(self._map(submit, (chunks_of(items, chunksize),), timeout, buffersize))

    def _submit_items(
        self,
        fn: Callable[..., _T],
        starred: bool,
        timeout: float | None,
        name: str | None,
        items: Any,
    ) -> Future[list[_T]]:
        """One task that calls `fn` with each of `items`; its result is a list."""
        raise NotImplementedError

    def _map(
        self,
        submit: Callable[..., Future[_T]],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        buffersize: int | None,
    ) -> ResultIterator[_T]:
        window = DEFAULT_WINDOW if buffersize is None else buffersize
        is_sized = buffersize is None and any(isinstance(each, Sized) for each in iterables)
        results = ResultIterator(submit, iterables, window, timeout, is_sized)
        if results.has_unsubmitted_input:
            self.__dict__.setdefault("_waiting_maps", weakref.WeakSet()).add(results)
        return results

    def _submit_waiting_maps(self) -> None:
        """Submits the input of maps that nobody has asked for a result, before a shutdown."""
        for results in list(self.__dict__.get("_waiting_maps", ())):
            if results.has_unsubmitted_input:
                results.submit_rest()

    def options(self, *, timeout: float | None = None, name: str | None = None) -> "OptionsView":
        """Returns a view of this executor that gives these options to each task.

        Args:
            timeout: seconds a task may run, counted from its start. A task that runs longer is
                stopped and its future raises TimeoutError. With ``map(chunksize=n)`` a task is
                ``n`` items.
            name: the tasks' name in reports, reprs and errors.

        The view has ``submit``, ``map``, ``shutdown`` and everything else of an executor; it
        shares the workers. The standard module has nothing like it.

        >>> from manyhands.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(1) as pool:
        ...     pool.options(timeout=5, name="sum").submit(sum, [1, 2]).result()
        3
        """
        from manyhands._futures.options import OptionsView

        return OptionsView(self, timeout=timeout, name=name)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
            self._stop_now()
        else:
            self.shutdown(wait=True)
        return False
