"""The executors under ``Pool`` and ``ThreadPool``: one interface, and their end.

Guarantees: all workers are started with the pool, or, where the system could never have as many,
when tasks need them; a pool that is open when the interpreter ends is terminated then, after the
program's threads have ended, as the standard one is; a process that was forked from one with pools
leaves those alone.

Does not do: wait for the tasks of a pool that was not closed.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from multiprocessing import util as util_module
from typing import Any

from manyhands import _runtime
from manyhands._futures.process_pool import ProcessPoolExecutor
from manyhands._futures.thread_pool import ThreadPoolExecutor
from manyhands._futures.worker_handle import handles_of
from manyhands._worker import interpreter_exit

__all__ = ["ProcessWorkers", "ThreadWorkers"]

util: Any = util_module

#: How long workers may take to end after SIGTERM, in seconds, before they are killed.
_TERM_PATIENCE_S = 0.25
_KILL_PATIENCE_S = 1.0

_numbers_lock = threading.Lock()
_next_number = 1
_living: weakref.WeakSet[ProcessWorkers] = weakref.WeakSet()
#: The standard pools' own: before the managers and queues that tasks may use.
_EXIT_PRIORITY = 15
_finalizer: Any = None


class ProcessWorkers(ProcessPoolExecutor):
    """The processes of a `Pool`."""

    _is_waited_for = False

    def __init__(
        self,
        n_processes: int,
        start_method: str,
        initializer: Callable[..., object] | None,
        initargs: Iterable[Any],
        max_tasks: int | None,
    ) -> None:
        # Modules that the program asked for by `set_forkserver_preload`, if it did.
        launching = sys.modules.get("manyhands._mp.launching")
        preload = launching._preload if launching is not None else ()
        super().__init__(n_processes, start_method, initializer, initargs, preload=preload)
        # Not as an argument: with "fork", too, a worker can be replaced by another one, forked
        # from the process as it was when the pool was made.
        self._max_tasks_per_child = max_tasks
        self._worker_settings = {
            "process_name": f"{_name_of(start_method)}PoolWorker",
            "first_number": _take_numbers(n_processes),
            "is_pool": True,
        }
        self._open()
        self._start_workers()
        _living.add(self)
        _end_with_the_process()

    def submit_chunk(self, fn: Callable[..., Any], starred: bool, items: Any) -> Any:
        """One task that calls `fn` with each of `items`; its result is a list."""
        return self._submit_chunk(fn, items, starred)

    def used_bytes(self) -> int:
        """Shared memory that tasks, and whatever else, take up."""
        return _runtime.heap_usage()[0]

    def start_missing(self) -> None:
        """Replace workers that have left."""
        self._start_workers()

    def finish_tasks(self) -> None:
        """Take no more tasks; workers end when the taken ones are done."""
        self.shutdown(wait=False)

    def join(self) -> None:
        """Wait until the workers have ended."""
        self._wait_until_ended()
        self._finish()

    def end_now(self) -> None:
        """Cancel everything and end the workers."""
        self._shutdown_thread = True
        self._terminate(cancel_running=True)
        if not self._wait_until_ended(_TERM_PATIENCE_S):
            self._kill(cancel_running=True)
            self._wait_until_ended(_KILL_PATIENCE_S)
        self._finish(callbacks=False)

    def handles(self) -> list[Any]:
        """The workers of the moment, as objects with ``pid``, ``is_alive`` and so on."""
        return list(handles_of(self).values())


class ThreadWorkers(ThreadPoolExecutor):
    """The threads of a `ThreadPool`."""

    def __init__(
        self, n_threads: int, initializer: Callable[..., object] | None, initargs: Iterable[Any]
    ) -> None:
        prefix = f"ThreadPoolWorker-{_take_numbers(1)}"
        super().__init__(n_threads, prefix, initializer, initargs)
        self._start_threads()
        interpreter_exit.register(self)

    def submit_chunk(self, fn: Callable[..., Any], starred: bool, items: Any) -> Any:
        """One task that calls `fn` with each of `items`; its result is a list."""
        return self.submit(_run_starred if starred else _run_each, fn, items)

    def used_bytes(self) -> int:
        """Nothing is copied for a thread."""
        return 0

    def start_missing(self) -> None:
        """Replace threads that have left."""
        self._start_threads()

    def finish_tasks(self) -> None:
        """Take no more tasks; threads end when the taken ones are done."""
        self.shutdown(wait=False)

    def join(self) -> None:
        """Wait until the threads have ended."""
        interpreter_exit.join_threads(self._threads)

    def end_now(self) -> None:
        """Cancel what waits. Threads cannot be ended: what runs is finished, as in the standard."""
        self.shutdown(wait=False, cancel_futures=True)

    def handles(self) -> list[Any]:
        """The threads of the moment."""
        return list(self._threads)

    def _at_interpreter_exit(self, hard: bool) -> None:
        self.end_now()
        interpreter_exit.abandon_threads(self._threads)


def _take_numbers(n_workers: int) -> int:
    """The first of so many numbers for the names of workers."""
    global _next_number
    with _numbers_lock:
        first = _next_number
        _next_number += n_workers
    return first


def _run_each(fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    return list(map(fn, items))


def _run_starred(fn: Callable[..., Any], items: Iterable[Iterable[Any]]) -> list[Any]:
    return list(itertools.starmap(fn, items))


def _name_of(start_method: str) -> str:
    """What the standard module's names of workers begin with."""
    names = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}
    return names.get(start_method, "")


def _end_with_the_process() -> None:
    """Have the pools of this process ended with it.

    By multiprocessing's own registry: children of multiprocessing end without `atexit`.
    """
    global _finalizer
    if _finalizer is None or not _finalizer.still_active():
        _finalizer = util.Finalize(None, _end_all, exitpriority=_EXIT_PRIORITY)


def _end_all() -> None:
    for workers in list(_living):
        workers.end_now()
    if interpreter_exit.has_begun():
        _runtime.stop_templates()


def _forget_after_fork() -> None:
    global _finalizer, _numbers_lock
    _living.clear()
    _finalizer = None
    _numbers_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
