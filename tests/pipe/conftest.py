"""Fixtures of the pipes' tests: the module under test, and forked processes.

What holds for the standard module too runs over both: that it passes there shows that it asks for
what programs rely on.
"""

import importlib
import os
import signal

import pytest
from background import program, start, until

__all__ = ["program", "start", "until"]


@pytest.fixture(params=["multiprocessing.connection", "manyhands.multiprocessing.connection"])
def module(request):
    """The standard module, then ours."""
    return importlib.import_module(request.param)


@pytest.fixture
def connection():
    """Our module."""
    return importlib.import_module("manyhands.multiprocessing.connection")


@pytest.fixture
def fork():
    """Forks a process that runs a call and exits with 0 if it raised nothing."""
    pids = []

    def fork_one(work, *args):
        pid = os.fork()
        if pid:
            pids.append(pid)
            return pid
        status = 1
        try:
            work(*args)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)

    def reap(pid):
        pids.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    fork_one.reap = reap
    fork_one.kill = lambda pid: (os.kill(pid, signal.SIGKILL), reap(pid))
    yield fork_one
    codes = [reap(pid) for pid in list(pids)]
    assert not any(codes), f"forked processes ended with {codes}"
