"""What every test owes: it leaves no child process, no thread and no /dev/shm entry behind.

The watchdogs are in pyproject.toml: a test that hangs fails after 120 s, one that cannot even be
interrupted shows all stacks and ends the run.

Allowed to stay, because they serve the whole process and end with it: the template process from
which workers are forked (it leaves a second after its last pool; its workers must not stay), the
dispatcher and output threads, and the servants of the standard library's own pools (resource
tracker, fork server) in tests that compare with it.
"""

import faulthandler
import gc
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key, get_timeout_config_value

STAYING_THREADS = ("manyhands-dispatcher", "manyhands-output")
TEMPLATE = "mh-template"
STAYING_COMMANDS = (
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
    if alive() - before:
        gc.collect()  # What only a cycle holds may go later than the test that made it.
    while left := alive() - before:
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + ", ".join(sorted(left)), pytrace=False)
        time.sleep(pause_s)  # Something is ending; looking again at once would only slow it down.
        pause_s = min(2 * pause_s, 0.1)


def alive():
    """Descriptions of this process's children, of its threads, of the entries of /dev/shm, and of
    the start method, if the standard package has settled for one: pools follow it."""
    threads = {
        f"thread {thread.name!r} ({thread.ident})"
        for thread in threading.enumerate()
        if not thread.name.startswith(STAYING_THREADS)
    }
    shared = {f"/dev/shm/{entry.name}" for entry in os.scandir("/dev/shm")}
    settled = multiprocessing.get_start_method(allow_none=True)
    return children() | threads | shared | ({f"start method {settled}"} if settled else set())


def children(parent="self"):
    """Descriptions of the child processes of all threads of a process, zombies included."""
    found = set()
    try:
        tasks = list(Path(f"/proc/{parent}/task").iterdir())
    except OSError:
        return found  # It ended.
    for task in tasks:
        try:
            pids = (task / "children").read_text().split()
        except OSError:
            continue  # The thread ended.
        for pid in pids:
            found |= described(pid)
    return found


def described(pid):
    """A child's description; for a template those of its workers."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return set()  # The child was reaped.
    if name == TEMPLATE:
        return children(pid)
    if any(staying in command for staying in STAYING_COMMANDS):
        return set()
    shown = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return {f"process {pid} {name} ({shown or 'zombie'})"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """Winds up the last watchdog again, which pytest stops when a test fails (for debuggers).

    The clean-up after a failure is where a hang is most likely.
    """
    timeout_s = get_timeout_config_value(item.config)
    stderr = item.config.stash[fault_handler_stderr_fd_key]
    if timeout_s > 0:
        faulthandler.dump_traceback_later(timeout_s, file=stderr, exit=True)
    return (yield)


def pytest_sessionstart():
    """Refuses a kernel on which the check above would find nothing."""
    if not Path(f"/proc/self/task/{threading.get_native_id()}/children").exists():
        pytest.exit("this kernel has no /proc/PID/task/TID/children: leaks would go unseen", 3)
