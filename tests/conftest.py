"""What every test owes: it leaves no child process, no thread and no /dev/shm entry behind.

The watchdogs are in pyproject.toml: a test that hangs fails after 120 s, one that cannot even be
interrupted shows all stacks and ends the run.

Allowed to stay, because they serve the whole process and end with it: the template process from
which workers are forked, the dispatcher thread, and the servants of the standard library's own
pools (resource tracker, fork server) in tests that compare with it.
"""

import os
import threading
import time
from pathlib import Path

import pytest

STAYING_THREADS = ("manyhands-dispatcher",)
STAYING_COMMANDS = (
    b"manyhands._template",
    b"multiprocessing.resource_tracker",
    b"multiprocessing.forkserver",
)
# Not a limit on speed: the end of a process or thread that is under way may take its time.
SETTLING_S = 10.0


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request):
    """Fails a test after which something lives that did not live before it."""
    if isinstance(request.node, pytest.DoctestItem) or request.node.get_closest_marker("leaves"):
        yield
        return
    before = alive()
    yield
    deadline = time.monotonic() + SETTLING_S
    pause_s = 0.001
    while left := alive() - before:
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + ", ".join(sorted(left)), pytrace=False)
        time.sleep(pause_s)  # Something is ending; looking again at once would only slow it down.
        pause_s = min(2 * pause_s, 0.1)


def alive():
    """Descriptions of this process's children, of its threads, and of the entries of /dev/shm."""
    threads = {
        f"thread {thread.name!r} ({thread.ident})"
        for thread in threading.enumerate()
        if not thread.name.startswith(STAYING_THREADS)
    }
    shared = {f"/dev/shm/{entry.name}" for entry in os.scandir("/dev/shm")}
    return children() | threads | shared


def children():
    """Descriptions of the child processes of all threads of this process, zombies included."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
        except OSError:
            continue  # The thread ended.
        for pid in pids:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue  # The child was reaped.
            if not any(name in command for name in STAYING_COMMANDS):
                shown = command.replace(b"\0", b" ").decode(errors="replace").strip()
                found.add(f"process {pid} ({shown or 'zombie'})")
    return found


def pytest_sessionstart():
    """Refuses a kernel on which the check above would find nothing."""
    if not Path(f"/proc/self/task/{threading.get_native_id()}/children").exists():
        pytest.exit("this kernel has no /proc/PID/task/TID/children: leaks would go unseen", 3)
