"""``ProcessPoolExecutor``: processes that run tasks, and that may die without breaking the pool.

Guarantees: the signature and the behaviour of `concurrent.futures.ProcessPoolExecutor`; a worker
that dies fails the task it was running and nothing else; Ctrl-C, or the parent's death, leaves no
worker behind; nothing is shared with workers through named files.

The pool itself (scheduling, slots, deaths) is compiled; here are its parameters and its life.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from manyhands import _runtime
from manyhands._futures import chained
from manyhands._futures.executor import Executor
from manyhands._futures.future import Future
from manyhands._runtime import ProcessPoolCore
from manyhands._worker import interpreter_exit, launchers
from manyhands._worker.cpu_count import usable_cpus

__all__ = ["ProcessPoolExecutor"]

_T = TypeVar("_T")

#: How long killed workers may take to be gone, in seconds, before the program goes on.
_KILL_PATIENCE_S = 1.0

_START_METHODS = ("template", "spawn", "fork", "forkserver")

_NEEDED_MODULES = (
    *("_pickling.by_value", "_pickling.captured", "_pickling.codec", "_pickling.diagnose"),
    *("_pickling.standard_sharing", "_worker.forwarding", "_worker.parent_state"),
    *("_futures.chained", "_futures.map", "_futures.worker_handle"),
)

#: What a copy of this process needs to be the one that forks workers. Root may give up the right to
#: read them before it comes to that.
_NEEDED_BY_ROOT = ("_worker.template", "_worker.worker_main")

_pool_numbers = itertools.count(1)


class ProcessPoolExecutor(ProcessPoolCore, Executor):
    """Runs calls in a pool of worker processes.

    Args:
        max_workers: the most processes; None: the processors this process may use (affinity,
            container quota and ``PYTHON_CPU_COUNT`` count). They are started when needed.
        mp_context: where workers come from: a context of `multiprocessing`, or one of the names
            "template" (the default: forked from a clean process that has imported manyhands),
            "spawn" (a fresh interpreter each), "fork" (copies of this process as it is at the
            first task), "forkserver" (the same as "template").
        initializer: called first in each worker. If it raises, the pool is broken.
        initargs: its arguments.
        max_tasks_per_child: tasks a worker runs before it is replaced; None: any number.
        preload: names of modules that the template imports once, so that workers have them.

    Raises:
        ValueError: a number is not positive, a start method is unknown, or max_tasks_per_child
            is combined with "fork".
        TypeError: initializer is not callable, or max_tasks_per_child is no int.

    Mirrors https://docs.python.org/3/library/concurrent.futures.html#processpoolexecutor.
    Differences: a dead worker raises `manyhands.WorkerCrashed` from the future of the task it was
    running and is replaced, while the standard pool breaks; futures can be cancelled while they
    run and can be awaited; ``options(timeout=...)`` stops tasks; lambdas, closures and everything
    of ``__main__`` may be submitted, and ``__main__`` is never imported in workers; ``preload``.

    >>> with ProcessPoolExecutor(max_workers=2) as pool:
    ...     list(pool.map(lambda n: n * n, range(4)))
    [0, 1, 4, 9]
    """

    #: Whether the end of the interpreter waits for the tasks.
    _is_waited_for = True
    #: What workers are told besides: fields of `WorkerSetup`.
    _worker_settings: Mapping[str, Any] = MappingProxyType({})

    _takes_chunks = True

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        preload: Iterable[str] = (),
    ) -> None:
        if max_workers is None:
            max_workers = usable_cpus()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._start_method = _start_method(mp_context)
        _check_max_tasks(max_tasks_per_child, self._start_method)
        self._max_workers = max_workers
        self._max_tasks_per_child = max_tasks_per_child
        self._given_context = mp_context
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._preload = _checked_preload(preload)
        self._open_lock = threading.Lock()
        # Now, and not at the first task: a fork while another thread imports leaves the child with
        # a locked module.
        for name in _NEEDED_MODULES:
            importlib.import_module(f"manyhands.{name}")
        if os.geteuid() == 0:
            for name in _NEEDED_BY_ROOT:
                importlib.import_module(f"manyhands.{name}")
        self._shutdown_thread = False
        self._shares: Any = None
        self._forwards = False

    # --- life -----------------------------------------------------------------------------------

    def _open(self) -> None:
        """Make the pool; called by the first ``submit``."""
        with self._open_lock:
            if self._is_open:
                return
            if self._shutdown_thread or (self._is_waited_for and interpreter_exit.has_begun()):
                raise RuntimeError(self._closed_reason())
            launcher, inherits = self._launcher()
            setup = self._setup(inherits)
            interpreter_exit.register(_pools)
            self._start(
                min(self._max_workers, sys.maxsize),
                self._max_tasks_per_child,
                inherits,
                launcher,
                setup,
                self._is_waited_for,
            )

    def _launcher(self) -> tuple[Any, bool]:
        """Where workers come from, and whether they inherit this process's memory."""
        if self._start_method == "spawn":
            return launchers.program(), False
        if self._start_method == "fork" or launchers.why_no_interpreter():
            return _fork_template(self._initializer, self._initargs), True
        launcher = launchers.template(self._preload)
        launcher.warm_up()
        return launcher, False

    def _setup(self, inherits: bool) -> tuple[bytes, list[int]]:
        """What every worker is told, pickled, and the descriptors it gets."""
        from manyhands._pickling import codec
        from manyhands._worker import parent_state
        from manyhands._worker.setups import WorkerSetup

        parent = parent_state.describe_parent()
        setup = WorkerSetup(parent, **self._worker_settings)
        fds: list[int] = []
        if not inherits:
            from manyhands._pickling import standard_sharing
            from manyhands._worker import forwarding

            call, self._shares = standard_sharing.dumps_initializer(
                self._initializer, self._initargs
            )
            setup = setup._replace(initializer=call)
            streams_are_own = parent.stdout_is_own and parent.stderr_is_own
            if not streams_are_own or parent_state.has_log_handlers():
                fds.append(forwarding.join())
                self._forwards = True
        return codec.dumps(setup, None), fds

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further tasks and end the workers once the taken ones are done.

        Args:
            wait: return only when all tasks are done and all workers have ended.
            cancel_futures: cancel the tasks that no worker has started.

        Raises:
            KeyboardInterrupt: on Ctrl-C while waiting; the workers are killed first.
        """
        if not cancel_futures and not self._shutdown_thread:
            self._submit_waiting_maps()
        with self._open_lock:
            self._shutdown_thread = True
        self._close(cancel_futures)
        if not wait:
            return
        chained.pass_cancels_on()
        try:
            self._wait_until_ended()
        except KeyboardInterrupt:
            self._stop_now()
            raise
        self._finish()

    def terminate_workers(self) -> None:
        """Shut down without waiting, cancel what waits, and send SIGTERM to all workers.

        Tasks that were running raise `manyhands.WorkerCrashed`. As in Python 3.14.
        """
        self.shutdown(wait=False, cancel_futures=True)
        self._terminate()

    def kill_workers(self) -> None:
        """Shut down without waiting, cancel what waits, and kill all workers.

        Tasks that were running raise `manyhands.WorkerCrashed`. As in Python 3.14.
        """
        self.shutdown(wait=False, cancel_futures=True)
        self._kill(cancel_running=False)

    def _stop_now(self) -> None:
        """Cancel everything and kill the workers: the program is being interrupted."""
        with self._open_lock:
            self._shutdown_thread = True
        self._kill(cancel_running=True)
        self._wait_until_ended(_KILL_PATIENCE_S)
        self._finish()

    def _finish(self, *, callbacks: bool = True) -> None:
        """What is left to do once no worker is left."""
        if callbacks:
            _runtime.flush_callbacks()
        shares, self._shares = self._shares, None
        if shares is not None:
            shares.close()
        _flush_output()
        if self._forwards:
            from manyhands._worker import forwarding

            self._forwards = False
            forwarding.leave()
        self._release()

    def _closed_reason(self) -> str:
        when = "interpreter shutdown" if interpreter_exit.has_begun() else "shutdown"
        return f"cannot schedule new futures after {when}"

    # --- work -----------------------------------------------------------------------------------

    def _submit_items(
        self,
        fn: Callable[..., _T],
        starred: bool,
        timeout: float | None,
        name: str | None,
        items: Any,
    ) -> Future[list[_T]]:
        return self._submit_chunk(fn, items, starred, timeout, name)

    # --- what people see ------------------------------------------------------------------------

    def statistics(self) -> dict[str, Any]:
        """Counts of this pool since its first task, and its workers of the moment.

        Returns: ``submitted``, ``finished``, ``crashed``, ``timed_out``, ``pending`` (no worker has
        room), ``in_lanes`` (handed to a worker, waiting or running), ``workers_started``,
        ``workers_died``, ``max_workers``, and ``workers``: a list of dicts with ``pid`` (None while
        it starts) and ``tasks``.

        >>> with ProcessPoolExecutor(1) as pool:
        ...     _ = pool.submit(abs, -1).result()
        ...     pool.statistics()["finished"]
        1
        """
        statistics: dict[str, Any] = self._counts()
        statistics["max_workers"] = self._max_workers
        statistics["workers"] = [
            {"pid": pid or None, "tasks": n_tasks} for _, pid, n_tasks, _ in self._workers()
        ]
        return statistics

    def __repr__(self) -> str:
        state = "broken" if self._broken else "shut down" if self._shutdown_thread else "open"
        counts = self._counts()
        n_waiting = counts["pending"] + counts["in_lanes"]
        return (
            f"<{type(self).__name__} {state}: {len(self._workers())} of {self._max_workers} "
            f"processes, {n_waiting} tasks not done>"
        )

    def __reduce__(self) -> Any:
        """In a worker, the pool of a task is one that runs what it is given at once."""
        from manyhands._futures.inline_executor import InlineExecutor

        return InlineExecutor, ()

    # --- names that programs written for the standard module look at ----------------------------

    @property
    def _broken(self) -> str | bool:
        return self._broken_reason() or False

    @property
    def _mp_context(self) -> Any:
        import multiprocessing

        if hasattr(self._given_context, "get_start_method"):
            return self._given_context
        if self._max_tasks_per_child is not None and self._given_context is None:
            return multiprocessing.get_context("spawn")
        name = "forkserver" if self._start_method == "template" else self._start_method
        return multiprocessing.get_context(name)

    @property
    def _processes(self) -> dict[int, Any] | None:
        from manyhands._futures.worker_handle import handles_of

        return None if self._shutdown_thread else handles_of(self)


ProcessPoolExecutor.__module__ = "manyhands.futures"


class _Pools:
    """All process pools, as the end of the interpreter sees them."""

    def _at_interpreter_exit(self, hard: bool) -> None:
        _runtime.end_process_pools(hard, _KILL_PATIENCE_S if hard else None)
        if not hard:
            _runtime.flush_callbacks()
        _flush_output()
        if "manyhands._mp.launching" not in sys.modules:
            _runtime.stop_templates()  # Else when the last process has been joined.


_pools = _Pools()


def _flush_output() -> None:
    forward = sys.modules.get("manyhands._worker.forwarding")
    if forward is not None:
        forward.flush(_KILL_PATIENCE_S)


def _start_method(mp_context: Any) -> str:
    if mp_context is None:
        multiprocessing = sys.modules.get("multiprocessing")
        chosen = multiprocessing.get_start_method(allow_none=True) if multiprocessing else None
        mp_context = chosen or "template"
    if not isinstance(mp_context, str):
        mp_context = mp_context.get_start_method()
    if mp_context not in _START_METHODS:
        raise ValueError(
            f"mp_context must be a multiprocessing context or one of {', '.join(_START_METHODS)}; "
            f"not {mp_context!r}"
        )
    return "template" if mp_context == "forkserver" else mp_context


def _check_max_tasks(max_tasks_per_child: Any, start_method: str) -> None:
    if max_tasks_per_child is None:
        return
    if not isinstance(max_tasks_per_child, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if max_tasks_per_child <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if start_method == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; "
            "supply a different mp_context."
        )


def _checked_preload(preload: Iterable[str]) -> tuple[str, ...]:
    if isinstance(preload, str):
        raise TypeError("preload takes a list of module names, not one string")
    names = tuple(preload)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"preload takes names of modules, not {type(name).__name__} objects")
    return names


def _fork_template(initializer: Any, initargs: tuple[Any, ...]) -> Any:
    """Fork a copy of this process, which forks the workers: they get what is in memory now."""
    from manyhands._worker import parent_state

    # What is printed and not written yet would be written by each copy.
    parent_state.flush_streams()
    ours, theirs, root = _runtime.TemplateServer.prepare_fork()
    # Workers of this kind know SIGINT only as the stop of a task; see `_worker`.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pid = os.fork()
        if pid == 0:
            _be_forked_template(ours, theirs, root, initializer, initargs)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    os.close(theirs)
    os.close(root)
    key = f"fork {os.getpid()} {next(_pool_numbers)}".encode()
    return _runtime.TemplateLauncher.forked(key, pid, ours)


def _be_forked_template(
    ours: int, theirs: int, root: int, initializer: Any, initargs: tuple[Any, ...]
) -> None:
    try:
        os.close(ours)
        from manyhands._worker import template, worker_main

        server = _runtime.TemplateServer.forked(theirs, root)
        template.serve(server, worker_main.Inherited(initializer, initargs))
    finally:
        os._exit(1)
