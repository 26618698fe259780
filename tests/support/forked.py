"""A fixture that forks processes which run a call, and sees to it that all of them end well."""

import os
import signal
import traceback

import pytest


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
            traceback.print_exc()
        finally:
            os._exit(status)

    def reap(pid):
        pids.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def kill(pid):
        os.kill(pid, signal.SIGKILL)
        return reap(pid)

    fork_one.reap = reap
    fork_one.kill = kill
    yield fork_one
    codes = [reap(pid) for pid in list(pids)]
    assert not any(codes), f"forked processes ended with {codes}"
