"""The lanes of the tour: one job, run on each kind of executor, with its time.

A lane is a way to run `measure_file` over all files and to give the results in the
order of the files.  Lanes run one after another in one process, so their times may
be compared; the files were read once before, so no lane pays for a cold disk.

The standard executors come first: they fork, and a fork is safest while this
process has started as little as possible.
"""

from __future__ import annotations

import concurrent.futures as standard
import time
from collections.abc import Callable
from concurrent.futures import Executor
from types import ModuleType
from typing import NamedTuple

from manyhands import futures as ours
from manyhands._tour.metrics import FileMetrics, ignore_syntax_warnings, measure_file

PLAIN_LOOP = "one thread, a plain loop"


class LaneTime(NamedTuple):
    """What one lane did: its results in file order, and its wall time in seconds."""

    results: list[FileMetrics]
    seconds: float


def lanes(n_workers: int) -> dict[tuple[str, str], Callable[[list[str]], list[FileMetrics]]]:
    """Give every lane by (kind of worker, whose executor), in the order to run them."""
    return {
        (PLAIN_LOOP, ""): lambda files: [measure_file(file) for file in files],
        ("threads", "standard"): _on(lambda: standard.ThreadPoolExecutor(n_workers)),
        ("processes", "standard"): _on(lambda: process_pool(standard, n_workers)),
        ("threads", "manyhands"): _on(lambda: ours.ThreadPoolExecutor(n_workers)),
        ("processes", "manyhands"): _on(lambda: process_pool(ours, n_workers)),
    }


def process_pool(module: ModuleType, n_workers: int) -> Executor:
    """Make `module`'s process pool with quiet workers, the same for both sides."""
    pool: Executor = module.ProcessPoolExecutor(n_workers, initializer=ignore_syntax_warnings)
    return pool


def time_lane(run: Callable[[list[str]], list[FileMetrics]], files: list[str]) -> LaneTime:
    """Run one lane over `files`, pool start and shutdown included."""
    started = time.perf_counter()
    results = run(files)
    return LaneTime(results, time.perf_counter() - started)


def empty_task_microseconds(executor: Executor, n_tasks: int) -> float:
    """Measure what one task costs that does nothing: submit `n_tasks`, then all results."""
    with executor:
        executor.submit(do_nothing).result()
        started = time.perf_counter()
        for future in [executor.submit(do_nothing) for _ in range(n_tasks)]:
            future.result()
        return (time.perf_counter() - started) / n_tasks * 1e6


def do_nothing() -> None:
    """Be the cheapest task there is."""


def _on(make: Callable[[], Executor]) -> Callable[[list[str]], list[FileMetrics]]:
    def run(files: list[str]) -> list[FileMetrics]:
        with make() as executor:
            return list(executor.map(measure_file, files))

    return run
