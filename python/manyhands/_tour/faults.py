"""The two accidents of the tour: a worker is killed, and a file never ends.

`kill_a_worker` sends SIGKILL to a worker in the middle of the run and counts what
that cost.  `never_ending_file` puts a named pipe that nobody writes to among the
files: opening it blocks for ever, until the task's own timeout stops it.

Both report what was seen, whatever it was; they decide nothing in advance.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from manyhands._tour.metrics import FileMetrics, measure_file

Submit = Callable[[Executor, str], "Future[FileMetrics]"]


class KillReport(NamedTuple):
    """What the kill of a worker cost: of `n_files`, `n_lost` first tries failed."""

    n_files: int
    n_kills: int
    n_lost: int
    message: str
    results: list[FileMetrics | None]


class TimeoutReport(NamedTuple):
    """What became of a map with one endless file: `results` has None where one was stopped."""

    results: list[FileMetrics | None]
    stopped: list[int]
    messages: list[str]


def kill_a_worker(executor: Executor, submit: Submit, files: list[str]) -> KillReport:
    """Kill a worker of `executor` after a third of `files`, then try the lost files again.

    A kill may come just after the task it was meant for and cost nothing; then another
    one follows, until a task was hit.
    """
    n_kills = 0
    first_tries = [submit(executor, file) for file in files]
    for future in islice(as_completed(first_tries), len(files) // 3):
        future.exception()
    for victim in first_tries:
        if not victim.done() and (pid := _worker_of(executor, victim)) is not None:
            n_kills += _kill(pid)
            if victim.exception() is not None:
                break
    wait(first_tries)
    lost = [index for index, future in enumerate(first_tries) if future.exception() is not None]
    message = str(first_tries[lost[0]].exception()) if lost else ""
    results = [None if future.exception() else future.result() for future in first_tries]
    try:
        for index, retry in [(index, submit(executor, files[index])) for index in lost]:
            results[index] = retry.result()
    except BrokenProcessPool:
        # The standard pool takes no task after a death: what was lost stays lost.
        pass
    return KillReport(len(files), n_kills, len(lost), message, results)


def never_ending_file(executor: Any, files: list[str], timeout_seconds: float) -> TimeoutReport:
    """Map over `files` with an endless one in their middle; only that one may be stopped."""
    with tempfile.TemporaryDirectory(prefix="manyhands-tour-") as folder:
        endless = str(Path(folder, "endless.py"))
        os.mkfifo(endless)
        middle = len(files) // 2
        files = [*files[:middle], endless, *files[middle:]]
        limited = executor.options(timeout=timeout_seconds)
        results: list[FileMetrics | None] = []
        stopped: list[int] = []
        messages: list[str] = []
        for outcome in _outcomes(limited.map(measure_file, files)):
            if isinstance(outcome, TimeoutError):
                stopped.append(len(results))
                messages.append(str(outcome) or "TimeoutError")
                results.append(None)
            else:
                results.append(outcome)
        return TimeoutReport(results, stopped, messages)


def _outcomes(results: Iterator[FileMetrics]) -> Iterator[FileMetrics | TimeoutError]:
    """Give each item of a map as its result or as its TimeoutError."""
    while True:
        try:
            yield next(results)
        except StopIteration:
            return
        except TimeoutError as error:
            yield error


def _worker_of(executor: Any, future: Any) -> int | None:
    """Say which process runs `future`; the standard pool does not know, so any of its workers."""
    if hasattr(future, "statistics"):
        worker: int | None = future.statistics()["worker"] if future.running() else None
        return worker
    any_pid: int = next(iter(executor._processes))
    return any_pid


def _kill(pid: int) -> int:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1
