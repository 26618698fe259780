"""The tour: one real job on every kind of executor, with its findings and its times.

``manyhands tour`` measures every ``.py`` file of the running Python's standard
library in a plain loop, on threads and on processes, with the standard executors
and with ours, and compares all results.  Then it kills a worker in the middle of a
run, and stops a file that would never end.

Every number on the screen is measured while you watch; nothing is stored.

It does not need anything but the standard library and manyhands itself.
"""

from __future__ import annotations

import argparse
import concurrent.futures as standard
import os
import platform
import sys
import sysconfig
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from manyhands import futures as ours
from manyhands._tour import faults, lanes, metrics
from manyhands._tour.lanes import PLAIN_LOOP, LaneTime
from manyhands._tour.metrics import FileMetrics
from manyhands._tour.screen import table

TIMEOUT_SECONDS = 2.0
N_EMPTY_TASKS = 5_000
QUICK_EVERY = 29
ACCIDENT_EVERY = 6


def main(argv: list[str] | None = None) -> int:
    """Run the tour with command-line arguments `argv`; return the exit status.

    0: everything ran and every comparison was equal.  1: a comparison was not.
    2: something the tour needs is missing; the message says what to do.
    """
    options = _arguments(argv)
    try:
        files = metrics.standard_library_files()
    except FileNotFoundError as error:
        print(f"manyhands tour: {error}", file=sys.stderr)
        return 2
    if options.quick:
        files = files[::QUICK_EVERY]
    metrics.ignore_syntax_warnings()
    for file in files:
        _read(file)
    print(
        f"manyhands tour: {len(files):,} files of the standard library of Python "
        f"{platform.python_version()}, {options.workers} workers, "
        f"{len(os.sched_getaffinity(0))} CPUs, "
        f"load average before the start {os.getloadavg()[0]:.1f}\n"
    )
    tour = _Tour(files, options.workers, n_empty_tasks=200 if options.quick else N_EMPTY_TASKS)
    tour.run_lanes()
    tour.show_findings()
    tour.show_times()
    tour.show_kill()
    tour.show_timeout()
    print(f"\n{_verdict(tour.differences)}")
    return 1 if tour.differences else 0


class _Tour:
    """The stations of the tour and what they found; `differences` collects what was unequal."""

    def __init__(self, files: list[str], n_workers: int, n_empty_tasks: int) -> None:
        self.files = files
        self.n_workers = n_workers
        self.n_empty_tasks = n_empty_tasks
        self.times: dict[tuple[str, str], LaneTime] = {}
        self.empty: dict[tuple[str, str], float] = {}
        self.differences: list[str] = []
        self.standard_kill: faults.KillReport | None = None

    @property
    def loop_results(self) -> list[FileMetrics]:
        """The plain loop's results: what every other lane has to equal."""
        return self.times[PLAIN_LOOP, ""].results

    @property
    def accident_step(self) -> int:
        """The accidents take every so many files: enough to keep all workers busy."""
        return ACCIDENT_EVERY if len(self.files) > 100 * ACCIDENT_EVERY else 1

    def run_lanes(self) -> None:
        for (kind, whose), run in lanes.lanes(self.n_workers).items():
            if (kind, whose) == ("threads", "manyhands"):
                # The last of the standard stations: from here on, only ours.
                self._measure_standard_extras()
            print(f"  running: {f'{whose} {kind}'.strip()} ...", end="", flush=True)
            lane = self.times[kind, whose] = lanes.time_lane(run, self.files)
            print(f" {lane.seconds:.2f} s")
            self._compare(f"{whose} {kind}".strip(), lane.results, self.loop_results)
        self._measure_empty_tasks(ours, "manyhands")

    def show_findings(self) -> None:
        results = self.loop_results
        print("\nFindings\n")
        totals = {
            "files": len(results),
            "bytes": sum(result.n_bytes for result in results),
            "lines": sum(result.n_lines for result in results),
            "functions": sum(result.n_functions for result in results),
            "classes": sum(result.n_classes for result in results),
            "syntax nodes": sum(result.n_nodes for result in results),
            "files that are not valid Python": sum(bool(result.problem) for result in results),
        }
        print(table(["total", "number"], totals.items()))
        for title, attribute, unit in (
            ("most complex, one per file", "most_complex", "complexity"),
            ("longest, one per file", "longest", "n_lines"),
            ("most deeply nested, one per file", "deepest", "nesting"),
        ):
            print(f"\n{self._top(title, attribute, unit)}")

    def _top(self, title: str, attribute: str, unit: str) -> str:
        found = [
            (getattr(function, unit), function, result.path)
            for result in self.loop_results
            if (function := getattr(result, attribute)) is not None
        ]
        found.sort(key=lambda item: (-item[0], item[2]))
        root = sysconfig.get_path("stdlib")
        rows = [
            [value, function.name, f"{os.path.relpath(path, root)}:{function.line}"]
            for value, function, path in found[:5]
        ]
        return table([unit.removeprefix("n_"), title, "where"], rows)

    def show_times(self) -> None:
        loop_seconds = self.times[PLAIN_LOOP, ""].seconds
        rows = []
        for kind, whose in sorted(self.times, key=_lane_order):
            seconds = self.times[kind, whose].seconds
            beside = self.times.get((kind, "standard"), self.times[kind, whose]).seconds
            rows.append(
                [
                    f"{kind}, {whose}" if whose else kind,
                    seconds,
                    f"{loop_seconds / seconds:.2f}x",
                    f"{beside / seconds:.2f}x" if whose == "manyhands" else "",
                    "yes" if self.times[kind, whose].results == self.loop_results else "NO",
                ]
            )
        print("\nTimes, measured just now (pool start and shutdown included)\n")
        heads = ["lane", "seconds", "against the loop", "against the standard", "equal"]
        print(table(heads, rows))
        mean_ms = loop_seconds / len(self.files) * 1e3
        print(
            f"\n  One file takes {mean_ms:.1f} ms on average, so these times are mostly the work "
            "itself.\n  What the executor adds to each task shows when the task is empty:\n"
        )
        rows = [
            [f"{kind}, {whose}", self.empty[kind, whose], self._empty_ratio(kind, whose)]
            for kind, whose in sorted(self.empty, key=_lane_order)
        ]
        print(table(["one empty task", "microseconds", "against the standard"], rows))

    def _empty_ratio(self, kind: str, whose: str) -> str:
        if whose == "standard":
            return ""
        return f"{self.empty[kind, 'standard'] / self.empty[kind, whose]:.1f}x"

    def show_kill(self) -> None:
        print("\nA worker is killed (SIGKILL) in the middle of a run\n")
        report = self._kill(ours, _submit_named)
        rows = [_kill_row("standard", self.standard_kill), _kill_row("manyhands", report)]
        print(table(["processes", "files", "kills", "first tries lost", "after a retry"], rows))
        if report.message:
            first = _indented(report.message)
            print(f"\n  What the lost file's future raised:\n{first}")
        expected = self.loop_results[:: self.accident_step]
        self._compare("the run with a killed worker", report.results, expected)

    def show_timeout(self) -> None:
        print(f"\nA file that never ends, stopped by options(timeout={TIMEOUT_SECONDS:g})\n")
        files = self.files[:60]
        started = time.perf_counter()
        with lanes.process_pool(ours, self.n_workers) as executor:
            report = faults.never_ending_file(executor, files, TIMEOUT_SECONDS)
        seconds = time.perf_counter() - started
        others = [result for result in report.results if result is not None]
        print(
            f"  {len(report.results)} files, one of them a pipe that nobody writes to: "
            f"{len(report.stopped)} stopped, {len(others)} results, in {seconds:.2f} s"
        )
        for message in report.messages:
            print(f"\n  What the endless file raised:\n{_indented(message)}")
        if len(report.stopped) != 1:
            self.differences.append(f"{len(report.stopped)} files were stopped instead of one")
        self._compare("the run with an endless file", others, self.loop_results[: len(files)])

    def _measure_standard_extras(self) -> None:
        self._measure_empty_tasks(standard, "standard")
        self.standard_kill = self._kill(standard, _submit_plain)

    def _measure_empty_tasks(self, module: ModuleType, whose: str) -> None:
        for kind, pool in (("threads", "ThreadPoolExecutor"), ("processes", "ProcessPoolExecutor")):
            executor = getattr(module, pool)(self.n_workers)
            cost = lanes.empty_task_microseconds(executor, self.n_empty_tasks)
            self.empty[kind, whose] = cost

    def _kill(self, module: ModuleType, submit: faults.Submit) -> faults.KillReport:
        with lanes.process_pool(module, self.n_workers) as executor:
            return faults.kill_a_worker(executor, submit, self.files[:: self.accident_step])

    def _compare(self, what: str, found: list[Any], expected: list[Any]) -> None:
        if found != expected:
            self.differences.append(f"{what} differs from the plain loop")


def _lane_order(lane: tuple[str, str]) -> tuple[int, bool]:
    """The loop, then threads, then processes; of each, the standard library's first."""
    kind, whose = lane
    return [PLAIN_LOOP, "threads", "processes"].index(kind), whose == "manyhands"


def _submit_plain(executor: Any, file: str) -> Any:
    return executor.submit(metrics.measure_file, file)


def _submit_named(executor: Any, file: str) -> Any:
    named = executor.options(name=f"measure {Path(file).name}")
    return named.submit(metrics.measure_file, file)


def _kill_row(whose: str, report: faults.KillReport | None) -> list[object]:
    assert report is not None
    n_missing = sum(result is None for result in report.results)
    after = f"{n_missing:,} still lost: the pool is broken" if n_missing else "all there"
    return [whose, report.n_files, report.n_kills, report.n_lost, after]


def _indented(message: str) -> str:
    return "\n".join(f"    {line}" for line in message.splitlines())


def _verdict(differences: list[str]) -> str:
    if not differences:
        return "Every lane gave the same results, with and without the accidents."
    return "NOT EQUAL: " + "; ".join(differences)


def _read(file: str) -> None:
    with open(file, "rb") as stream:
        stream.read()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="manyhands tour",
        description="Measure the standard library's sources on every kind of executor.",
    )
    parser.add_argument("--quick", action="store_true", help="a few files only, some seconds")
    parser.add_argument(
        "--workers",
        type=int,
        default=max(2, len(os.sched_getaffinity(0))),
        metavar="N",
        help="workers of each pool (default: the CPUs this process may use, at least 2)",
    )
    options = parser.parse_args(argv)
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    return options
