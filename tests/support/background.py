"""Fixtures for what happens beside a test: calls in threads, programs of their own, patience.

A test folder takes the ones it needs into its ``conftest.py``.
"""

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


#: For the source of a program: `when_asleep(then)` calls `then` in a thread once the main thread
#: has been asleep in the kernel at many looks in a row, with the GIL free between them.
WHEN_ASLEEP = """
def when_asleep(then):
    import pathlib, threading, time
    task = pathlib.Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")
    def watch():
        n_looks = 0
        while n_looks < 20:
            state = task.read_text().rpartition(")")[2].split()[0]
            n_looks = n_looks + 1 if state == "S" else 0
            time.sleep(0.001)
        then()
    threading.Thread(target=watch, daemon=True).start()
"""


class Running:
    """A call in a thread of its own."""

    def __init__(self, work, *args, **kwargs):
        self._call = lambda: work(*args, **kwargs)
        self._result, self._error = None, None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    def is_over(self):
        return not self._thread.is_alive()

    def result(self):
        """What the call returned; raises what it raised, or fails if it hangs."""
        self._thread.join(WATCHDOG_S)
        assert not self._thread.is_alive(), "a thread hangs"
        if self._error is not None:
            raise self._error
        return self._result

    def error(self):
        """What the call raised, which the test expected."""
        self._thread.join(WATCHDOG_S)
        assert not self._thread.is_alive(), "a thread hangs"
        error, self._error = self._error, None
        return error


@pytest.fixture
def start():
    """Starts calls in threads; at the end of the test all of them must have ended well."""
    running = []

    def start_one(work, *args, **kwargs):
        running.append(Running(work, *args, **kwargs))
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
