"""Fixtures of the primitives' tests: the module under test, threads that hand back what happened.

Most of the battery runs over the standard module and over ours: that it passes on the standard one
shows that it asks for what programs rely on.
"""

import importlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import manyhands
import pytest

WATCHDOG_S = 60
PACKAGE_ROOT = str(pathlib.Path(manyhands.__file__).resolve().parents[1])


@pytest.fixture(params=["threading", "manyhands.threading"])
def module(request):
    """The standard module, then ours."""
    return importlib.import_module(request.param)


@pytest.fixture
def ours():
    """Our module, for what the standard one does not have."""
    return importlib.import_module("manyhands.threading")


class Running:
    """A call in a thread of its own."""

    def __init__(self, work, *args):
        self._work, self._args = work, args
        self._result, self._error = None, None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self._result = self._work(*self._args)
        except BaseException as error:
            self._error = error

    def result(self):
        """What the call returned; raises what it raised, or fails if it hangs."""
        self.thread.join(WATCHDOG_S)
        assert not self.thread.is_alive(), "a thread hangs"
        if self._error is not None:
            raise self._error
        return self._result

    def error(self):
        """What the call raised, which the test expected."""
        self.thread.join(WATCHDOG_S)
        assert not self.thread.is_alive(), "a thread hangs"
        error, self._error = self._error, None
        return error


@pytest.fixture
def start():
    """Starts calls in threads; at the end of the test all of them must have ended well."""
    running = []

    def start_one(work, *args):
        running.append(Running(work, *args))
        return running[-1]

    yield start_one
    for each in running:
        each.result()


@pytest.fixture
def until():
    """Waits until something is true; the watchdog is the only limit."""

    def until_true(condition):
        deadline = time.monotonic() + WATCHDOG_S
        while not condition():
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.001)

    return until_true


class Ended:
    """How a program ended."""

    def __init__(self, process, out, err):
        self.status, self.out, self.err = process.returncode, out, err


@pytest.fixture
def program():
    """Runs a program to its end; with `interrupt` it gets SIGINT when it has printed READY."""

    def run(source, *, interrupt=False, **environment):
        path = os.pathsep.join(filter(None, [PACKAGE_ROOT, os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            [sys.executable, "-c", source],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
        try:
            if interrupt:
                assert process.stdout.readline() == "READY\n", process.stderr.read()
                process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=WATCHDOG_S)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()
        return Ended(process, out, err)

    return run
