"""The process in which conformance tests run; `run.py` starts it and reads its answers.

    worker.py modules NAME              the test modules of a package, one per line
    worker.py list MODULE               the test ids of a module, one per line
    worker.py run MODULE SHIM TIMEOUT ID…
                                        runs tests; a line per start and end of each

Imports little: spawn and forkserver children of the tests import this file as `__mp_main__`.
Answers go to what was standard output at the start; the tests' own output goes to standard error.
A test that takes longer than TIMEOUT seconds ends the process with the stacks of all threads.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import TextIO
    from unittest import TestCase, TestSuite

    Error = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


def main(words: list[str]) -> int:
    """Answers one question, or runs tests."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    match words:
        case ["modules", name]:
            answers.writelines(f"{module}\n" for module in modules(name))
        case ["list", module]:
            answers.writelines(f"{test.id()}\n" for test in load(module))
        case ["run", module, shim, timeout, *ids]:
            adapt(module, shim)
            run(module, float(timeout), ids, answers)
        case _:
            return 2
    return 0


def modules(name: str) -> Iterator[str]:
    """Yields the modules named `test_...` of a package, or `name` if it is a module."""
    import importlib
    import pkgutil

    package = importlib.import_module(name)
    if not hasattr(package, "__path__"):
        yield name
        return
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("test_"):
            yield f"{name}.{module.name}"


def load(module: str) -> list[TestCase]:
    """The tests of a module, flat, in unittest's order; none if the module skips itself."""
    import importlib
    import unittest

    def flat(suite: TestSuite) -> Iterator[TestCase]:
        for item in suite:
            if isinstance(item, unittest.TestSuite):
                yield from flat(item)
            else:
                yield item

    allow_all_resources()
    try:
        imported = importlib.import_module(module)
    except unittest.SkipTest:
        return []
    return list(flat(unittest.TestLoader().loadTestsFromModule(imported)))


def adapt(module: str, shim: str) -> None:
    """Lets the shim put the replacement where a module of tests keeps a private copy."""
    import importlib
    import unittest

    if not shim:
        return
    allow_all_resources()
    try:
        tests = importlib.import_module(module)
    except unittest.SkipTest:
        return
    to_tests = getattr(importlib.import_module(shim), "adapt", None)
    if to_tests is not None:
        to_tests(tests)


def allow_all_resources() -> None:
    """Lets tests run that `python -m test` runs only with `-u cpu,walltime,subprocess`."""
    try:
        from test import support
    except ImportError:
        return  # Tests that are not CPython's.
    support.use_resources = ["cpu", "subprocess", "walltime"]


def run(module: str, timeout_s: float, ids: list[str], answers: TextIO) -> None:
    """Runs the tests with these ids, and says what comes of each."""
    import faulthandler
    import traceback
    import unittest

    owner = os.getpid()

    class Result(unittest.TestResult):
        """Writes a line when a test starts, and one with its worst outcome when it ends."""

        def startTest(self, test: TestCase) -> None:
            super().startTest(test)
            self.outcome, self.detail = "passed", ""
            say("started", test.id())
            faulthandler.dump_traceback_later(timeout_s, exit=True)

        def stopTest(self, test: TestCase) -> None:
            faulthandler.cancel_dump_traceback_later()
            super().stopTest(test)
            say(self.outcome, test.id(), self.detail.replace("\n", "\\n").replace("\t", "  "))

        def note(self, outcome: str, detail: str) -> None:
            """Keeps the first bad outcome: a failure, then the errors of its clean-up."""
            if self.outcome in ("passed", "skipped"):
                self.outcome = outcome
            self.detail += detail

        def addError(self, test: TestCase, error: Error) -> None:
            self.end_badly(test, "error", error)

        def addFailure(self, test: TestCase, error: Error) -> None:
            self.end_badly(test, "failed", error)

        def addSkip(self, test: TestCase, reason: str) -> None:
            if hasattr(test, "_testMethodName"):
                self.note("skipped", reason)

        def addUnexpectedSuccess(self, test: TestCase) -> None:
            self.note("failed", "it was expected to fail")

        def addSubTest(self, test: TestCase, subtest: TestCase, error: Error | None) -> None:
            if error is not None:
                self.end_badly(test, "failed", error)

        def end_badly(self, test: TestCase, outcome: str, error: Error) -> None:
            detail = "".join(traceback.format_exception(*error))
            if hasattr(test, "_testMethodName"):
                self.note(outcome, detail)
            else:  # setUpClass, setUpModule and their like: no test of theirs is started.
                print(detail, file=sys.stderr)
                raise SystemExit(1)

    def say(event: str, test: str, detail: str = "") -> None:
        if os.getpid() == owner:  # Not in a child that a test forked and that fell through.
            answers.write(f"{event}\t{test}\t{detail}\n")

    wanted = set(ids)
    suite = unittest.TestSuite(test for test in load(module) if test.id() in wanted)
    suite.run(Result())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
