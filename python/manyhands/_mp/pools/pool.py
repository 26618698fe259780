"""``Pool`` and ``ThreadPool``: the interface of `multiprocessing.pool` over our executors.

```text
apply, map, imap…  →  ProcessWorkers / ThreadWorkers (executors)  →  futures
                   ←  ApplyResult, MapResult, IMapIterator…       ←
```
There is no thread that feeds tasks or collects results: whoever submits puts tasks straight before
the workers, whoever asks for a result takes it.

Guarantees: a worker that dies fails the task it was running, with `manyhands.WorkerCrashed`, and is
replaced; an initializer that raises breaks the pool instead of being tried for ever; `terminate`
ends within a second, whatever the workers do; no pool outlives its process.

Does not do: pass the pool's own queues around. Subclasses that override ``_setup_queues`` or
``_repopulate_pool`` find that nobody calls them.
"""

from __future__ import annotations

import functools
import multiprocessing.pool as standard_module
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor
from typing import Any, Self

from manyhands._futures.process_pool import _START_METHODS, _start_method
from manyhands._mp.pools.imap import IMapIterator, IMapUnorderedIterator
from manyhands._mp.pools.input import CONTAINERS, Input, InputError, guarded
from manyhands._mp.pools.results import ApplyResult, MapResult, wait_for
from manyhands._mp.pools.workers import ProcessWorkers, ThreadWorkers
from manyhands._worker.cpu_count import usable_cpus

INIT = "INIT"
RUN = "RUN"
CLOSE = "CLOSE"
TERMINATE = "TERMINATE"

_standard: Any = standard_module
RemoteTraceback: Any = _standard.RemoteTraceback
ExceptionWithTraceback: Any = _standard.ExceptionWithTraceback
MaybeEncodingError: Any = _standard.MaybeEncodingError
mapstar = _standard.mapstar
starmapstar = _standard.starmapstar
rebuild_exc = _standard.rebuild_exc

#: Shared memory that tasks may take up before a map waits for some of them to end.
_CROWDED_BYTES = 256 << 20
#: How many tasks are queued for each worker, so that none has to wait for the next one.
_AHEAD = 4
#: For how many workers at most: a pool may be allowed more workers than there will ever be.
_MOST_WITH_TASKS_AHEAD = 1_024


class Pool:
    """Processes that run calls.

    Args:
        processes: how many; None: the processors this process may use.
        initializer: called first in each process. If it raises, the pool is broken.
        initargs: its arguments.
        maxtasksperchild: tasks a process runs before it is replaced; None: any number. A chunk of
            a map is one task.
        context: says how processes are started.

    Raises:
        ValueError: a number is not positive.
        TypeError: initializer is not callable.

    Mirrors https://docs.python.org/3/library/multiprocessing.html#module-multiprocessing.pool.
    Differences: docs/pools.md. The important ones: a task whose process died raises
    `manyhands.WorkerCrashed`, while the standard pool waits for ever; lambdas and everything of
    ``__main__`` may be given; ``imap`` reads ahead a bounded number of items; pools may be made in
    tasks of pools; Ctrl-C reaches the main process only.

    >>> with Pool(2) as pool:
    ...     pool.map(lambda n: n * n, range(4))
    [0, 1, 4, 9]
    """

    # For `__del__`, when `__init__` has failed.
    _state = INIT
    _workers: Any = None
    _pid = 0

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        context = args[4] if len(args) > 4 else kwargs.get("context")
        if context is not None and not _is_known(context):
            # It starts processes in its own way, which only the standard pool can use.
            return _standard_pool(*args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        if processes is None:
            processes = usable_cpus()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        max_tasks: Any = maxtasksperchild
        if max_tasks is not None and (not isinstance(max_tasks, int) or max_tasks <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._processes = processes
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._inputs: weakref.WeakSet[Input] = weakref.WeakSet()
        self._ctx = context
        self._maxtasksperchild = maxtasksperchild
        self._initializer = initializer
        self._initargs = initargs
        self._workers = self._start()
        self._state = RUN

    def _start(self) -> Any:
        return ProcessWorkers(
            self._processes,
            _start_method_name(self._ctx),
            self._initializer,
            self._initargs,
            self._maxtasksperchild,
        )

    # --- one call -------------------------------------------------------------------------------

    def apply(
        self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}
    ) -> Any:
        """Return ``func(*args, **kwds)``, computed by a worker.

        Raises:
            ValueError: the pool is not running.
            Exception: what `func` raised.

        >>> with Pool(1) as pool:
        ...     pool.apply(int, ("ff",), {"base": 16})
        255
        """
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> ApplyResult:
        """Have ``func(*args, **kwds)`` computed, and return its result before it is there.

        Args:
            func: what to call.
            args: its arguments.
            kwds: its keyword arguments.
            callback: called with the result, in a thread of this process.
            error_callback: called with the exception instead, if there is one.
        """
        self._check_running()
        futures: list[Any] = []
        try:
            futures.append(self._workers.submit(func, *args, **kwds))
        except BrokenExecutor as error:
            return MapResult(
                self,
                (),
                False,
                input_error=error,
                callback=callback,
                error_callback=error_callback,
            )
        except RuntimeError:
            self._check_running()
            raise
        return ApplyResult(self, futures, callback, error_callback)

    # --- many calls -----------------------------------------------------------------------------

    def map(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """Return the list of ``func(item)`` for each item.

        Args:
            func: what to call.
            iterable: the items.
            chunksize: how many items make a task; None: a quarter of each worker's share.

        Raises:
            Exception: what `func`, or the iterable, raised; after all other tasks are done.
        """
        return self._map(func, iterable, False, chunksize)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """Return the list of ``func(*item)`` for each item; see `map`."""
        return self._map(func, iterable, True, chunksize)

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """As `map`, but return the result before it is there; see `apply_async`."""
        return self._map_async(
            func, iterable, False, chunksize, callback=callback, error_callback=error_callback
        )

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """As `starmap`, but return the result before it is there; see `apply_async`."""
        return self._map_async(
            func, iterable, True, chunksize, callback=callback, error_callback=error_callback
        )

    def imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> IMapIterator:
        """Return an iterator over ``func(item)`` for each item, in their order.

        Args:
            func: what to call.
            iterable: the items; infinite ones are fine, see `docs/pools.md`.
            chunksize: how many items make a task.

        >>> import itertools
        >>> with ThreadPool(2) as pool:
        ...     squares = pool.imap(lambda n: n * n, itertools.count())
        ...     [next(squares) for _ in range(4)]
        [0, 1, 4, 9]
        """
        return self._imap(IMapIterator, func, iterable, chunksize)

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> IMapIterator:
        """As `imap`, in the order in which tasks end."""
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize)

    def _map(
        self, func: Callable[..., Any], iterable: Iterable[Any], starred: bool, chunksize: Any
    ) -> list[Any]:
        results: list[Any] = self._map_async(func, iterable, starred, chunksize).get()
        return results

    def _map_async(
        self,
        func: Callable[..., Any],
        iterable: Any,
        starred: bool,
        chunksize: int | None,
        *,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        self._check_running()
        if not hasattr(iterable, "__len__"):
            iterable = list(iterable)
        if chunksize is None:
            chunksize = -(-len(iterable) // (self._processes * 4))
        chunksize = max(1, chunksize)
        futures: list[Any] = []
        failure: BaseException | None = None
        try:
            self._submit_all(
                self._submitter(func, starred, chunksize), _split(iterable, chunksize), futures
            )
        except InputError as error:
            failure = error.__cause__
        except BrokenExecutor as error:
            failure = error
        return MapResult(
            self,
            futures,
            chunksize > 1,
            input_error=failure,
            callback=callback,
            error_callback=error_callback,
        )

    def _submit_all(
        self, submit: Callable[[Any], Any], items: Iterable[Any], futures: list[Any]
    ) -> None:
        """Submit everything; when much memory is taken, wait for what is far behind."""
        n_ahead = _AHEAD * min(self._processes, _MOST_WITH_TASKS_AHEAD)
        at_first = self._workers.used_bytes()
        try:
            for item in items:
                futures.append(submit(item))
                if (
                    not len(futures) % n_ahead
                    and self._workers.used_bytes() - at_first > _CROWDED_BYTES
                ):
                    wait_for(futures[-n_ahead], None)
        except RuntimeError:
            self._check_running()
            raise

    def _imap(
        self, iterator: type[IMapIterator], func: Any, iterable: Iterable[Any], chunksize: int
    ) -> IMapIterator:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize!r}")
        return iterator(self, self._submitter(func, False, chunksize), iterable, chunksize)

    def _submitter(
        self, func: Callable[..., Any], starred: bool, chunksize: int
    ) -> Callable[[Any], Any]:
        """What submits one item, or one chunk of them."""
        workers = self._workers
        if chunksize > 1:
            return functools.partial(workers.submit_chunk, func, starred)
        if not starred:
            submit: Callable[[Any], Any] = functools.partial(workers.submit, func)
            return submit

        def submit_starred(args: Any) -> Any:
            if type(args) is tuple:
                return workers.submit(func, *args)
            # Whatever unpacking it raises is the task's error.
            return workers.submit(_call_starred, func, args)

        return submit_starred

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    # --- life -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more tasks; the workers end when all tasks are done."""
        with self._lock:
            if self._state != RUN:
                return
            self._state = CLOSE
        if not self._inputs:
            self._workers.finish_tasks()

    def terminate(self) -> None:
        """End the workers at once, with what they are doing.

        Results that are not there then raise `PoolTerminated`. A `ThreadPool` finishes the
        calls that have begun.
        """
        with self._lock:
            self._state = TERMINATE
        for source in list(self._inputs):
            source.stop()
        self._workers.end_now()

    def join(self) -> None:
        """Wait until the workers have ended.

        Raises:
            ValueError: neither `close` nor `terminate` was called before.
        """
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state == CLOSE:
            # Nobody takes results meanwhile: the inputs are read to their end.
            for source in list(self._inputs):
                source.read_all()
                source.join()
        self._workers.join()

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.terminate()

    def __del__(
        self,
        _warn: Callable[..., None] = warnings.warn,
        _getpid: Callable[[], int] = os.getpid,
        _is_finalizing: Callable[[], bool] = sys.is_finalizing,
        RUN: str = RUN,  # noqa: N803 - the interpreter may have cleared this module
    ) -> None:
        if self._state != RUN or self._pid != _getpid():
            return
        _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)
        if _is_finalizing():
            return  # The workers have been ended, and other threads' locks stay locked.
        # As in the standard, what was submitted is finished: a result that somebody waits for
        # keeps the pool alive, so nobody waits.
        self._workers.finish_tasks()

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        cls = type(self)
        return (
            f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={self._processes}>"
        )

    def statistics(self) -> dict[str, Any]:
        """Counts of this pool, as those of the executor it is made of."""
        statistics: dict[str, Any] = self._workers.statistics()
        return statistics

    # --- between the pool and its inputs --------------------------------------------------------

    def _input_has_begun(self, source: Input) -> None:
        with self._lock:
            self._inputs.add(source)

    def _input_has_ended(self, source: Input) -> None:
        with self._lock:
            self._inputs.discard(source)
            was_last = self._state == CLOSE and not self._inputs
        if was_last:
            self._workers.finish_tasks()

    # --- names that programs written for the standard module look at ----------------------------

    @property
    def _pool(self) -> list[Any]:
        return [] if self._workers is None else self._workers.handles()

    def _repopulate_pool(self) -> None:
        self._workers.start_missing()


class ThreadPool(Pool):
    """As `Pool`, with threads: nothing is pickled, and calls that have begun cannot be ended.

    Args:
        processes: how many threads; None: the processors this process may use.
        initializer: called first in each thread. If it raises, the pool is broken.
        initargs: its arguments.

    Mirrors https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.ThreadPool.

    >>> with ThreadPool(4) as pool:
    ...     pool.starmap(pow, [(2, 5), (3, 2)])
    [32, 9]
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        super().__init__(processes, initializer, initargs)

    def _start(self) -> Any:
        return ThreadWorkers(self._processes, self._initializer, self._initargs)


for _class in (Pool, ThreadPool, ApplyResult, MapResult, IMapIterator, IMapUnorderedIterator):
    _class.__module__ = "manyhands.multiprocessing.pool"


def _call_starred(func: Callable[..., Any], args: Iterable[Any]) -> Any:
    return func(*args)


def _split(iterable: Any, chunksize: int) -> Iterable[Any]:
    """The items, or chunks of them; `InputError` from what the iterable raises."""
    if chunksize > 1 and isinstance(iterable, (list, tuple, range)):
        # Slices: a range of a million numbers travels as three.
        return (iterable[at : at + chunksize] for at in range(0, len(iterable), chunksize))
    if chunksize == 1 and type(iterable) in CONTAINERS:
        return iterable  # type: ignore[no-any-return]
    return guarded(iterable, chunksize)


def _start_method_name(context: Any) -> str:
    if context is None:
        return _start_method(None)
    return str(context.get_start_method())


def _is_known(context: Any) -> bool:
    """Whether the start method of `context` is one of ours."""
    name = getattr(context, "get_start_method", lambda: None)()
    return isinstance(name, str) and name in _START_METHODS


def _standard_pool(*args: Any, **kwargs: Any) -> Any:
    """A standard pool. In the module's dictionary it is also found while its name is ours."""
    return vars(standard_module)["Pool"](*args, **kwargs)
