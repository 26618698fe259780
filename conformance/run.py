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
- Processes that outlive their test class are ended and counted, as are entries of /dev/shm.
- Exits with 0 only if every test that is not excluded passed or skipped itself, at least one of
  each suite passed, every line of the exclusion files names tests that exist, nothing was left
  behind, and the README, if one is given, states the counts that were seen.
- With `--jobs` several suites run at once, each in a runner of its own that watches its own
  processes; a suite by itself is run no other way than alone.

An exclusion file has a test id or the path of a class, a tab and a reason per line; `#` opens a
comment. `ID [3.11]` applies to that version's tests only, several are separated by commas.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pickle
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from readme_counts import Counts, differences

HERE = Path(__file__).resolve().parent
WORKER = HERE / "worker.py"
PACKAGE = HERE.parent / "python"
SHARED_MEMORY = Path("/dev/shm")
PR_SET_CHILD_SUBREAPER = 36
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
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


@dataclass
class Suite:
    """The tests of a module or package: all of them, and those that were to run."""

    name: str
    tests: list[str] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    n_excluded: int = 0

    def counts(self, tally: Tally) -> Counts:
        """How its tests ended, as the README states it."""
        outcomes = Counter(tally.outcomes[test] for test in self.wanted)
        return Counts(outcomes["passed"], outcomes["skipped"], self.n_excluded)


def main(argv: list[str] | None = None) -> int:
    """Runs the tests and prints every failure and the counts; returns the exit status."""
    options = parse(argv)
    # A process whose parent ended becomes our child: none can escape the count below.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # A job started in the background inherits SIGINT as ignored, which the tests' children would
    # inherit too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    shared_memory_before = set(SHARED_MEMORY.iterdir())
    plain = environment(options, "")
    shimmed = environment(options, options.shim)
    tally = Tally()
    if options.part_of:
        suite = run_suite(options.suite[0], plain, shimmed, options, tally)
        options.part_of.write_bytes(pickle.dumps((suite, tally)))
        return 0
    if options.jobs > 1 and len(options.suite) > 1:
        suites = run_at_once(options, tally, sys.argv[1:] if argv is None else argv)
    else:
        suites = [run_suite(suite, plain, shimmed, options, tally) for suite in options.suite]
    tally.faults += [
        f"the exclusion file names {named}, which does not exist."
        for named in options.excluded
        if any(covers(suite.name, named) for suite in suites)
        and not any(covers(named, test) for suite in suites for test in suite.tests)
    ]
    tally.faults += [
        f"{entry} was left behind." for entry in set(SHARED_MEMORY.iterdir()) - shared_memory_before
    ]
    if options.readme and not options.match:
        seen = {suite.name.removeprefix("test."): suite.counts(tally) for suite in suites}
        tally.faults += differences(options.readme, VERSION, seen)
    return report(tally, suites, options)


def run_at_once(options: argparse.Namespace, tally: Tally, argv: list[str]) -> list[Suite]:
    """Runs each suite in a runner of its own, `--jobs` at a time, the given order first."""
    words = [word for word in argv if word not in options.suite]

    def run_part(number: int, suite: str) -> tuple[Suite, Tally]:
        result = options.work / f"part-{number}"
        command = [sys.executable, __file__, *words, "--part-of", str(result), suite]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise SystemExit(f"{suite}: its runner ended with status {done.returncode}")
        part: tuple[Suite, Tally] = pickle.loads(result.read_bytes())
        result.unlink()
        return part

    with ThreadPoolExecutor(options.jobs) as executor:
        parts = list(executor.map(run_part, range(len(options.suite)), options.suite))
    for _, part in parts:
        tally.outcomes |= part.outcomes
        tally.details |= part.details
        tally.faults += part.faults
    return [suite for suite, _ in parts]


def run_suite(
    name: str, plain: Path, shimmed: Path, options: argparse.Namespace, tally: Tally
) -> Suite:
    """Runs the tests of one suite and prints the counts of each module."""
    suite = Suite(name)
    for module in test_modules(plain, name):
        listed = list_tests(plain, module)
        suite.tests += listed
        taken = [
            test for test in listed if not any(covers(named, test) for named in options.excluded)
        ]
        suite.n_excluded += len(listed) - len(taken)
        wanted = [test for test in taken if options.match in test]
        suite.wanted += wanted
        for group in by_class(wanted):
            run_class(shimmed, module, group, options, tally)
        if wanted:
            print(f"  {module}: {counts(tally.outcomes[test] for test in wanted)}", flush=True)
    return suite


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
    parser.add_argument("--jobs", type=int, default=1, help="suites that run at once")
    parser.add_argument("--readme", type=Path, help="file whose table of counts is compared")
    parser.add_argument("--part-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=Path(".conformance"), help="scratch folder")
    options = parser.parse_intermixed_args(argv)
    options.excluded = read_exclusions(options.exclude)
    options.path = options.path or [str(HERE), str(PACKAGE), sysconfig.get_path("purelib")]
    return options


def read_exclusions(files: list[Path]) -> dict[str, str]:
    """The excluded tests with their reasons; a line without a reason is refused."""
    excluded = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line or line.startswith("#"):
                continue
            named, _, reason = line.partition("\t")
            named, _, versions = named.partition(" [")
            if not reason.strip():
                raise SystemExit(f"{file}: {named} needs a tab and a reason after it.")
            if not versions or VERSION in versions.rstrip("]").split(","):
                excluded[named] = reason.strip()
    return excluded


def environment(options: argparse.Namespace, shim: str) -> Path:
    """The python of a virtual environment that imports from the paths and calls the shim.

    Made anew, except in a runner that is part of another, which has made it.
    """
    name = f"{sys.implementation.cache_tag}-{shim or 'standard'}"
    folder = Path(options.work, name).absolute()
    if not options.part_of:
        make_environment(folder, shim, options.path)
    return folder / "bin" / "python"


def make_environment(folder: Path, shim: str, paths: list[str]) -> None:
    """Makes a virtual environment whose interpreters import from `paths` and call the shim."""
    venv.EnvBuilder(clear=True, symlinks=True).create(folder)
    site = folder / "lib" / f"python{VERSION}" / "site-packages"
    lines = [str(Path(path).absolute()) for path in paths]
    if shim:
        lines.append(f"import {shim}; {shim}.install()")
    (site / "shim.pth").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


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


def run_class(
    python: Path, module: str, tests: list[str], options: argparse.Namespace, tally: Tally
) -> None:
    """Runs the tests of one class, with a fresh process after each hang or crash."""
    left = tests
    while left:
        ended, culprit = run_worker(python, module, left, options, tally)
        if culprit and culprit not in ended:
            ended.add(culprit)
        elif not ended:
            for test in left:
                tally.add(test, "missing", "the process that runs its class never came to it")
            return
        left = [test for test in left if test not in ended]


def run_worker(
    python: Path, module: str, tests: list[str], options: argparse.Namespace, tally: Tally
) -> tuple[set[str], str]:
    """Runs tests in one worker process until it ends, or one test hangs.

    Returns the tests that ended, and the one that was running when the process did.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        log_path = Path(folder, "log")
        environment = {**os.environ, "TMPDIR": folder}
        environment.pop("PYTHONPATH", None)
        with log_path.open("wb") as log:
            worker = subprocess.Popen(
                [python, WORKER, "run", module, options.shim, str(options.timeout), *tests],
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
    commands = []
    deadline = time.monotonic() + SETTLING_S
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := children.read_text().split():
        for pid in map(int, pids):
            if time.monotonic() > deadline:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                commands.append(command.decode(errors="replace").strip() or "a zombie")
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            else:
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    return commands


def report(tally: Tally, suites: list[Suite], options: argparse.Namespace) -> int:
    """Prints failures, faults and a closing line per suite; returns the exit status."""
    for test, detail in tally.details.items():
        print(f"\n{tally.outcomes[test].upper()}: {test}\n{detail.rstrip()}")
    for fault in tally.faults:
        print(f"\nFAULT: {fault}")
    subject = options.shim or "the standard library"
    print(f"\nconformance of {subject} with the tests of CPython {sys.version.split()[0]}:")
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
