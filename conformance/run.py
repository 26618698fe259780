#!/usr/bin/env python3
"""Runs suites of CPython's own tests, on the replacements that a shim installs.

    run.py [--shim MODULE] [--exclude FILE]... [--timeout S] [--match TEXT] [--jobs N]
           [--readme FILE] SUITE...

A suite is a module of tests, or a package of them. The interpreter that runs this file is the one
whose tests run. They run in a private virtual environment (in .conformance/) in which a `.pth` file
calls `MODULE.install()` in *every* interpreter that starts, also in those that the tests start;
without that, such tests would silently test the standard library. Where a module of tests takes a
private copy of what it tests, `MODULE.adapt(tests)`, if there is one, puts the replacement there.

Guarantees:
- The tests are enumerated without the shim, so the total does not depend on it: a test that the
  shim makes disappear counts as `missing`, which is a failure.
- Each class of tests runs in a process of its own (`worker.py`); a test that hangs or kills the
  process costs itself only, the rest of its class goes on in a fresh process.
- Several classes run at once, each below a process of its own, which alone sees what that class
  leaves behind.
- Processes that outlive their test class are ended and counted, as are entries of /dev/shm.
- Exits with 0 only if every test that is not excluded passed or skipped itself, at least one of
  each suite passed, every line of the exclusion files names tests that exist, nothing was left
  behind, and the README, if one is given, states the counts that were seen.

An exclusion file has a test id or the path of a class, a tab and a reason per line; `#` opens a
comment. `ID [3.11]` applies to that version's tests only, several are separated by commas.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

import readme_counts

HERE = Path(__file__).resolve().parent
WORKER = HERE / "worker.py"
PACKAGE = HERE.parent / "python"
SHARED_MEMORY = Path("/dev/shm")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
VERSION = platform.python_version()
# How long a process may outlive the worker that started it before it counts as left behind.
SETTLING_S = 3.0
GOOD = ("passed", "skipped")
OUTCOMES = ("passed", "failed", "error", "skipped", "missing", "crashed", "hung")


@dataclass
class Tally:
    """What came of a run: an outcome per test id, and what went wrong outside of tests."""

    outcomes: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, test: str, outcome: str, detail: str = "") -> None:
        """Records how a test ended."""
        self.outcomes[test] = outcome
        if outcome not in GOOD:
            self.details[test] = detail

    def merge(self, part: Tally) -> None:
        """Takes over what another run of tests recorded."""
        self.outcomes |= part.outcomes
        self.details |= part.details
        self.faults += part.faults


@dataclass
class Module:
    """A module of tests: those that are to run, and what will come of each class of them."""

    name: str
    wanted: list[str]
    classes: list[Future[Tally]] = field(default_factory=list)


@dataclass
class Suite:
    """The tests of a module or package: all of them, and those that were to run."""

    name: str
    tests: list[str] = field(default_factory=list)
    modules: list[Module] = field(default_factory=list)
    n_excluded: int = 0

    @property
    def wanted(self) -> list[str]:
        """The tests that were to run."""
        return [test for module in self.modules for test in module.wanted]


@dataclass(frozen=True)
class How:
    """How tests are run: by which interpreter, with which shim, and how long each may take."""

    python: Path
    shim: str
    timeout_s: float


def main(argv: list[str] | None = None) -> int:
    """Runs the tests and prints every failure and the counts; returns the exit status."""
    options = parse(argv)
    # A job started in the background inherits SIGINT as ignored, which the tests' children would
    # inherit too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    shared_memory_before = set(SHARED_MEMORY.iterdir())
    plain = make_environment(options.work, "", options.path)
    how = How(
        make_environment(options.work, options.shim, options.path), options.shim, options.timeout
    )
    with runners(options.jobs) as pool:
        suites = [find_tests(name, plain, options, pool) for name in options.suite]
        start_classes(suites, how, pool)
        tally = gather(suites)
    tally.faults += [
        f"the exclusion file names {named}, which does not exist."
        for named in options.excluded
        if any(covers(suite.name, named) for suite in suites)
        and not any(covers(named, test) for suite in suites for test in suite.tests)
    ]
    if options.readme and not options.match:
        tally.faults += compare_counts(options.readme, suites, tally)
    tally.faults += [
        f"{entry} was left behind." for entry in set(SHARED_MEMORY.iterdir()) - shared_memory_before
    ]
    return report(tally, suites, options)


@contextlib.contextmanager
def runners(n_jobs: int) -> Iterator[ProcessPoolExecutor]:
    """The processes below which classes of tests run; the standard library's, as nothing of ours.

    Each becomes the parent of a process whose parent ended: none can escape its count, and none
    is counted, or ended, by the runner of another class.
    """
    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(n_jobs, mp_context=fork, initializer=adopt_orphans)
    try:
        yield pool
    except KeyboardInterrupt:
        # Not `shutdown`, which waits for the tests that run; they end with this process.
        os._exit(128 + signal.SIGINT)
    finally:
        pool.shutdown(cancel_futures=True)


def adopt_orphans() -> None:
    """Makes this process the parent of what the processes below it leave behind.

    Ctrl-C, and the end of the whole run, end it and them.
    """
    signal.signal(signal.SIGINT, interrupted)
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)


def interrupted(signum: int, frame: FrameType | None) -> NoReturn:
    """The run was interrupted: ends the tests that run below this process, and the process."""
    end_children()
    os._exit(128 + signum)


def find_tests(
    name: str, plain: Path, options: argparse.Namespace, pool: ProcessPoolExecutor
) -> Suite:
    """The tests of one suite, and which of them are to run."""
    suite = Suite(name)
    modules = test_modules(plain, name)
    for module, listed in zip(
        modules, pool.map(list_tests, [plain] * len(modules), modules), strict=True
    ):
        suite.tests += listed
        taken = [
            test for test in listed if not any(covers(named, test) for named in options.excluded)
        ]
        suite.n_excluded += len(listed) - len(taken)
        suite.modules.append(Module(module, [test for test in taken if options.match in test]))
    return suite


def start_classes(suites: list[Suite], how: How, pool: ProcessPoolExecutor) -> None:
    """Hands every class of tests to the runners.

    The largest first, since what lasts long and is begun last is what everything ends with.
    """
    classes = [
        (module, tests)
        for suite in suites
        for module in suite.modules
        for tests in by_class(module.wanted)
    ]
    for module, tests in sorted(classes, key=lambda each: -len(each[1])):
        module.classes.append(pool.submit(run_class, how, module.name, tests))


def gather(suites: list[Suite]) -> Tally:
    """Waits for the tests; prints the counts of each module."""
    tally = Tally()
    for module in (module for suite in suites for module in suite.modules if module.wanted):
        for ended in module.classes:
            tally.merge(ended.result())
        print(
            f"  {module.name}: {counts(tally.outcomes[test] for test in module.wanted)}", flush=True
        )
    return tally


def covers(named: str, test: str) -> bool:
    """Whether `named` is this test, or the class, module or package that it is in."""
    return test == named or test.startswith(f"{named}.")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", nargs="+", help="a module of tests, or a package of them")
    parser.add_argument("--shim", default="", help="module whose install() every interpreter calls")
    parser.add_argument(
        "--path",
        action="append",
        default=[],
        help="folder to import from; default: this one, the package's sources, and the packages "
        "of the interpreter that runs this",
    )
    parser.add_argument(
        "--exclude",
        type=Path,
        action="append",
        default=[],
        help="file of tests that do not apply; several are read one after the other",
    )
    parser.add_argument("--match", default="", help="run only tests whose id contains this")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one test")
    parser.add_argument(
        "--jobs",
        type=int,
        default=2 * len(os.sched_getaffinity(0)),
        help="classes of tests at a time; default: two for each processor, as most tests sleep",
    )
    parser.add_argument("--readme", type=Path, help="file whose table of counts is compared")
    parser.add_argument("--work", type=Path, default=Path(".conformance"), help="scratch folder")
    options = parser.parse_intermixed_args(argv)
    options.excluded = read_exclusions(options.exclude)
    options.path = options.path or [str(HERE), str(PACKAGE), sysconfig.get_path("purelib")]
    return options


def read_exclusions(files: list[Path]) -> dict[str, str]:
    """The excluded tests with their reasons; a line without a reason is refused."""
    excluded = {}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line or line.startswith("#"):
                continue
            named, _, reason = line.partition("\t")
            named, _, versions = named.partition(" [")
            if not reason.strip():
                raise SystemExit(f"{file}: {named} needs a tab and a reason after it.")
            if not versions or version in versions.rstrip("]").split(","):
                excluded[named] = reason.strip()
    return excluded


def make_environment(work: Path, shim: str, paths: list[str]) -> Path:
    """Makes a virtual environment whose interpreters import from `paths` and call the shim.

    Returns its python.
    """
    folder = (work / f"{sys.implementation.cache_tag}-{shim or 'standard'}").absolute()
    venv.EnvBuilder(clear=True, symlinks=True).create(folder)
    python = folder / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    lines = [str(Path(path).absolute()) for path in paths]
    if shim:
        lines.append(f"import {shim}; {shim}.install()")
    (site / "shim.pth").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return python


def test_modules(python: Path, name: str) -> list[str]:
    """The modules of tests in a package, or the module itself."""
    return ask(python, "modules", name)


def list_tests(python: Path, module: str) -> list[str]:
    """The ids of the tests in a module, in the order in which unittest runs them."""
    return list(dict.fromkeys(ask(python, "list", module)))


def ask(python: Path, *words: str) -> list[str]:
    """The lines with which the worker answers a question."""
    answer = subprocess.run(
        [python, WORKER, *words], stdout=subprocess.PIPE, text=True, timeout=120, check=True
    )
    return answer.stdout.splitlines()


def by_class(tests: list[str]) -> Iterator[list[str]]:
    """Groups test ids by the class in which they are defined."""
    groups: dict[str, list[str]] = {}
    for test in tests:
        groups.setdefault(test.rpartition(".")[0], []).append(test)
    yield from groups.values()


def run_class(how: How, module: str, tests: list[str]) -> Tally:
    """Runs the tests of one class, with a fresh process after each hang or crash."""
    tally = Tally()
    left = tests
    while left:
        ended, culprit = run_worker(how, module, left, tally)
        if culprit and culprit not in ended:
            ended.add(culprit)
        elif not ended:
            for test in left:
                tally.add(test, "missing", "the process that runs its class never came to it")
            break
        left = [test for test in left if test not in ended]
    return tally


def run_worker(how: How, module: str, tests: list[str], tally: Tally) -> tuple[set[str], str]:
    """Runs tests in one worker process until it ends, or one test hangs.

    Returns the tests that ended, and the one that was running when the process did.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        log_path = Path(folder, "log")
        environment = {**os.environ, "TMPDIR": folder}
        environment.pop("PYTHONPATH", None)
        with log_path.open("wb") as log:
            worker = subprocess.Popen(
                [how.python, WORKER, "run", module, how.shim, str(how.timeout_s), *tests],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        assert worker.stdout is not None
        ended: set[str] = set()
        running = ""
        # The worker's own watchdog ends it when a test takes too long, so this loop ends.
        for line in worker.stdout:
            event, test, *detail = line.rstrip("\n").split("\t")
            if event == "started":
                running = test
            else:
                running = ""
                ended.add(test)
                tally.add(test, event, "".join(detail).replace("\\n", "\n"))
        status = worker.wait()
        worker.stdout.close()
        for command in end_orphans():
            tally.faults.append(f"left behind by {tests[0].rpartition('.')[0]}: {command}")
        text = log_path.read_text(encoding="utf-8", errors="replace")[-4000:]
    if running:
        outcome = "hung" if "Timeout (" in text else "crashed"
        tally.add(running, outcome, f"the process ended with status {status}:\n{text}")
    elif status:
        where = tests[0].rpartition(".")[0]
        tally.faults.append(f"{where} ended with status {status} outside of a test:\n{text}")
    return ended, running


def end_orphans() -> list[str]:
    """Ends what a worker left behind, as we are its sub-reaper; returns the commands.

    What ends by itself within a moment of the worker's end, as a resource tracker does, is only
    collected.
    """
    deadline = time.monotonic() + SETTLING_S
    while pids := children():
        if time.monotonic() > deadline:
            return end_children()
        for pid in pids:
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    return []


def end_children() -> list[str]:
    """Ends the children of this process, and those that become its children by that.

    Returns their commands.
    """
    commands = []
    while pids := children():
        for pid in pids:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            commands.append(command.decode(errors="replace").strip() or "a zombie")
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return commands


def children() -> list[int]:
    """The children of this process."""
    return list(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def compare_counts(readme: Path, suites: list[Suite], tally: Tally) -> list[str]:
    """A sentence for each count that the README states otherwise than it was seen."""
    seen = {}
    for suite in suites:
        counted = Counter(tally.outcomes[test] for test in suite.wanted)
        seen[suite.name.removeprefix("test.")] = readme_counts.Counts(
            counted["passed"], counted["skipped"], suite.n_excluded
        )
    differences = readme_counts.differences(readme, VERSION, seen)
    if differences is None:
        print(f"{readme} states no counts for CPython {VERSION}: they were not compared.")
    return differences or []


def report(tally: Tally, suites: list[Suite], options: argparse.Namespace) -> int:
    """Prints failures, faults and a closing line per suite; returns the exit status."""
    for test, detail in tally.details.items():
        print(f"\n{tally.outcomes[test].upper()}: {test}\n{detail.rstrip()}")
    for fault in tally.faults:
        print(f"\nFAULT: {fault}")
    subject = options.shim or "the standard library"
    print(f"\nconformance of {subject} with the tests of CPython {VERSION}:")
    good = not tally.faults
    for suite in suites:
        outcomes = [tally.outcomes[test] for test in suite.wanted]
        good &= "passed" in outcomes and all(outcome in GOOD for outcome in outcomes)
        print(
            f"  {suite.name}: {counts(outcomes)}; {suite.n_excluded} of {len(suite.tests)} excluded"
        )
    print(f"  {len(tally.faults)} faults")
    return 0 if good else 1


def counts(outcomes: Iterable[str]) -> str:
    """The number of each outcome, as text."""
    counted = Counter(outcomes)
    return ", ".join(f"{counted[each]} {each}" for each in OUTCOMES if each in counted) or "no test"


if __name__ == "__main__":
    sys.exit(main())
