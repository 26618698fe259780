"""Start method fork: a process that is a copy of this one, with all its memory.

The standard method, with three differences: its end is seen by pidfd, so no descendant that
inherited a pipe can hide it; it ends when its parent does; and it is a party of the family, with
references of its own to every shared object of its parent.

Does not do: make a fork of a process with threads safe. Locks that other threads hold at that
moment stay locked in the copy; use the template.
"""

from __future__ import annotations

import math
import os
import select
import signal
from typing import Any

from manyhands import _runtime
from manyhands._mp import child as _child
from manyhands._mp.popen import Popen
from manyhands._pickling import main_objects  # noqa: F401 - a fork shares what it knows

_UNKNOWN_EXITCODE = 255
#: `poll` counts milliseconds in 31 bits: what is to last longer, 24 days, lasts for ever.
_LONGEST_WAIT_S = 2_000_000


class ForkedPopen(Popen):
    """A process forked from this one."""

    method = "fork"

    def __init__(self, process: Any) -> None:
        super().__init__()
        try:
            self._fork(process, _runtime.ProcessHandle.before_fork())
        except BaseException:
            self._drop_descriptors()
            raise

    def _fork(self, process: Any, parent: _runtime.ProcessHandle) -> None:
        try:
            self.pid = os.fork()
        except OSError:
            self._party = _runtime.last_forked_party()
            self._bury()
            raise
        if self.pid == 0:
            may_be_orphan = getattr(process, "_may_be_orphan", False)
            _child.run_forked(process, parent, self._record, self._carrier, may_be_orphan)
        try:
            self._party = _runtime.last_forked_party()
            if self._party is not None:
                _runtime.name_party(self._party, self.pid)
            self._handle = _runtime.ProcessHandle(self.pid)
            self.sentinel = self._handle.sentinel()
            self._own_descriptors()
        except BaseException:
            # No descriptor left, without which nobody could wait for the process; or a Ctrl-C.
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._bury()
            raise

    def duplicate_for_child(self, fd: int) -> int:
        """The child has all descriptors of its parent."""
        return fd

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code, waited for; None if the process still runs after `timeout` seconds."""
        if self.returncode is None and self._is_owner() and _is_readable(self.sentinel, timeout):
            self._reap()
        return self.returncode

    def _reap(self) -> None:
        """The process has ended: learn how, and let the kernel forget it.

        Threads that come here at once all learn how: the end is looked at without being used up,
        and is only used up when it is known. So whoever finds it gone finds it known as well,
        unless the program waited for all its children itself.
        """
        try:
            idtype, number = os.P_PIDFD, self.sentinel
            if not self._handle.is_pidfd:
                idtype, number = os.P_PID, self.pid
            end = os.waitid(idtype, number, os.WEXITED | os.WNOWAIT)
            if self.returncode is None and end is not None:
                is_exit = end.si_code == os.CLD_EXITED
                self.returncode = end.si_status if is_exit else -end.si_status
            os.waitid(idtype, number, os.WEXITED)
        except ChildProcessError:
            if self.returncode is None:
                # The program itself, or the kernel on its behalf, was faster.
                words = self.last_words()
                self.returncode = words.exitcode if words else _UNKNOWN_EXITCODE
        self._bury()

    def _bury(self) -> None:
        party, self._party = self._party, None
        if party is not None:
            _runtime.bury_party(party)

    def describe_end(self) -> str:
        """How it ended, for people."""
        code = self.returncode
        if code is None:
            return "has not ended"
        if code >= 0:
            return f"exited with code {code}"
        try:
            return f"was ended by {signal.Signals(-code).name} (signal {-code})"
        except ValueError:
            return f"was ended by signal {-code}"

    def send_signal(self, number: int) -> None:
        """Sends a signal; never hits another process that got the same id."""
        if self.returncode is None:
            self._handle.signal(number)


def _is_readable(fd: int, timeout: float | None) -> bool:
    if timeout is not None:
        if math.isnan(timeout):
            raise ValueError("a timeout must be a number of seconds or None, not nan")
        timeout = max(0.0, timeout) * 1000 if timeout < _LONGEST_WAIT_S else None
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout))
