"""Watching a program and everything it started, without any library.

A `Family` is a Python program started in its own session with a token in its environment.  Every
process that descends from it carries the token in /proc/PID/environ, also after its parent died, so
orphans are found as surely as children.  Zombies have no environment and are not counted: only
PID 1 could reap them.

`Marks` is a file that tasks append to with one O_APPEND write each: what tasks really did, told
by a channel that the library under test has no part in.
"""

import os
import pathlib
import select
import signal
import subprocess
import sys
import time
import uuid
from typing import NamedTuple

import manyhands

TOKEN_NAME = "MANYHANDS_TEST_FAMILY"
PACKAGE_ROOT = str(pathlib.Path(manyhands.__file__).resolve().parents[1])
HERE = str(pathlib.Path(__file__).resolve().parent)

# How long a family may take to die before the test calls it a leak.  Generous: the promise is one
# second, but a loaded machine may not schedule anybody for that long.
GONE_WITHIN_SECONDS = 15.0


class Finished(NamedTuple):
    """A program that ended: exit status (negative: the signal), standard output and error."""

    status: int
    out: str
    err: str


class Family:
    """A running program and all its descendants.

    `source` is written to a file and run as a script, or, with `stdin_script`, fed to an
    ``python -`` or ``python -i`` through standard input.  `flags` go to the interpreter.
    """

    def __init__(self, source, folder, *, flags=(), env=None, stdin_script=False, arguments=()):
        self.token = uuid.uuid4().hex
        folder.mkdir(parents=True)
        self.script = folder / "script.py"
        self.script.write_text(source)
        self._out, self._err = folder / "out", folder / "err"
        path = os.pathsep.join(filter(None, [PACKAGE_ROOT, HERE, os.environ.get("PYTHONPATH")]))
        what = ["-"] if stdin_script else [str(self.script), *map(str, arguments)]
        # `python -i` takes its program from standard input by itself; `python -` is told to.
        typed_in = self.script if stdin_script else os.devnull
        with (
            open(self._out, "wb") as out,
            open(self._err, "wb") as err,
            open(typed_in, "rb") as stdin,
        ):
            self.process = subprocess.Popen(
                [sys.executable, *flags, *([] if "-i" in flags else what)],
                stdin=stdin,
                stdout=out,
                stderr=err,
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": path,
                    "PYTHONUNBUFFERED": "1",
                    TOKEN_NAME: self.token,
                    **(env or {}),
                },
                start_new_session=True,
            )

    @property
    def out(self):
        return self._out.read_text(errors="replace")

    @property
    def err(self):
        return self._err.read_text(errors="replace")

    def wait(self, timeout_seconds=60):
        """Wait for the program's own end; a program that hangs is shown with its stacks' owner."""
        try:
            status = self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the program did not end within {timeout_seconds} s\n"
                f"family: {self.describe()}\nout: {self.out[-2000:]}\nerr: {self.err[-4000:]}"
            ) from None
        return Finished(status, self.out, self.err)

    def wait_for_line(self, line, timeout_seconds=60):
        """Wait until the program printed `line`."""
        deadline = time.monotonic() + timeout_seconds
        while line not in self.out.splitlines():
            assert self.process.poll() is None, f"ended before {line!r}: {self.err[-4000:]}"
            assert time.monotonic() < deadline, f"no {line!r} in time: {self.out}{self.err[-4000:]}"
            time.sleep(0.005)

    def interrupt(self):
        """Do what Ctrl-C does in a terminal: SIGINT to the whole foreground process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def pids(self):
        """Every live process of the family, the program itself included."""
        return pids_with_token(self.token)

    def describe(self):
        return [f"{pid}: {_read(pid, 'cmdline')!r} {_state_of(pid)}" for pid in self.pids()]

    def assert_gone(self):
        """Watch until nobody is left; fail with who is."""
        deadline = time.monotonic() + GONE_WITHIN_SECONDS
        while self.pids():
            assert time.monotonic() < deadline, f"still alive: {self.describe()}"
            time.sleep(0.01)

    def end(self):
        """End what is left of the family; return a line about each process that should not be."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        try:
            self.assert_gone()
        except AssertionError:
            remains = self.describe()
            for pid in self.pids():
                kill_member(pid, self.token)
            return remains
        return []


class Marks:
    """A file of short lines, appended to by tasks in any process or thread."""

    def __init__(self, path):
        self.path = path

    def add(self, text):
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{text}\n".encode())
        finally:
            os.close(descriptor)

    def read(self):
        try:
            with open(self.path) as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []


def pids_with_token(token):
    """List the live processes whose environment carries `token`."""
    needle = f"{TOKEN_NAME}={token}".encode()
    return [
        int(entry.name)
        for entry in os.scandir("/proc")
        if entry.name.isdigit() and needle in _read(entry.name, "environ").split(b"\0")
    ]


def kill_member(pid, token, signal_number=signal.SIGKILL):
    """Signal `pid` if it is a live member of the family; never anybody else.

    The descriptor pins the process before its membership is looked at, so a pid that was given to
    a stranger in between is not hit.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        return False
    try:
        if f"{TOKEN_NAME}={token}".encode() not in _read(pid, "environ").split(b"\0"):
            return False
        signal.pidfd_send_signal(descriptor, signal_number)
    except (ProcessLookupError, OSError):
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def wait_until_dead(pid, timeout_seconds=GONE_WITHIN_SECONDS):
    """Wait until `pid` is dead or a zombie."""
    deadline = time.monotonic() + timeout_seconds
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still alive: {_state_of(pid)}"
        time.sleep(0.005)


def is_alive(pid):
    """Whether `pid` exists and is not a zombie."""
    return _state_of(pid) not in ("", "Z", "X")


def wait_until(condition, what, timeout_seconds=30):
    """Poll `condition` until it is true and return its value."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.002)
    return value


def wait_readable(descriptor, timeout_seconds=30):
    """Wait until `descriptor` has something to read."""
    assert select.select([descriptor], [], [], timeout_seconds)[0], "nothing to read in time"


def _state_of(pid):
    # The command name may hold anything, also ") Z": the state follows the last parenthesis.
    stat = _read(pid, "stat").rpartition(b")")[2].split()
    return stat[0].decode() if stat else ""


def _read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""
