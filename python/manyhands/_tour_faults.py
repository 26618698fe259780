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
from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from manyhands._tour_metrics import FileMetrics, measure_file

Submit = Callable[[Executor, str], "Future[FileMetrics]"]


class KillReport(NamedTuple):
    """What the kill of a worker cost: of `n_files`, `n_lost` first tries failed."""

    n_files: int
    n_kills: int
    n_lost: int
    message: str
    retry_problem: str
    results: list[FileMetrics | None]


class TimeoutReport(NamedTuple):
    """What became of a map with one endless file: `results` has None where one was stopped."""

    results: list[FileMetrics | None]
    stopped: list[int]
    messages: list[str]


def kill_a_worker(executor: Executor, submit: Submit, files: list[str]) -> KillReport:
    """Kill a worker of `executor` after a third of `files`, then try the lost files again.

    A kill may hit a worker between two tasks and cost nothing; so another one follows
    at the next completed file, until a task was hit.
    """
    n_kills = 0
    first_tries = [submit(executor, file) for file in files]
    n_done = n_lost = 0
    for future in as_completed(first_tries):
        n_done += 1
        n_lost += future.exception() is not None
        if n_done >= len(files) // 3 and n_lost == 0:
            n_kills += _kill_one_of(executor)
    lost = [index for index, future in enumerate(first_tries) if future.exception() is not None]
    results = [None if index in set(lost) else f.result() for index, f in enumerate(first_tries)]
    message = str(first_tries[lost[0]].exception()) if lost else ""
    retry_problem = ""
    try:
        for index, retry in [(index, submit(executor, files[index])) for index in lost]:
            results[index] = retry.result()
    except BrokenProcessPool as error:
        retry_problem = str(error)
    return KillReport(len(files), n_kills, len(lost), message, retry_problem, results)


def never_ending_file(executor, files: list[str], timeout_seconds: float) -> TimeoutReport:
    """Map over `files` with an endless one in their middle; only that one may be stopped."""
    with tempfile.TemporaryDirectory(prefix="manyhands-tour-") as folder:
        endless = os.path.join(folder, "endless.py")
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


def _kill_one_of(executor: Executor) -> int:
    for pid in list(getattr(executor, "_processes", None) or ()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        return 1
    return 0
