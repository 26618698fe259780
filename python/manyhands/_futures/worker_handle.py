"""Worker processes as programs written for the standard module see them in ``_processes``.

The standard module keeps `multiprocessing.Process` objects there; these have the same methods,
over a handle on the process, so that they can never reach another process that got the same id.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from manyhands import _runtime

__all__ = ["WorkerHandle", "handles_of"]

_START_PATIENCE_S = 10.0


class WorkerHandle:
    """One worker process: ``pid``, ``is_alive``, ``join``, ``terminate``, ``kill``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._handle: _runtime.ProcessHandle | None = _runtime.ProcessHandle(pid)
        except ProcessLookupError:
            self._handle = None

    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._handle is not None and not self._handle.wait(0)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the process has ended, at most ``timeout`` seconds."""
        if self._handle is not None:
            self._handle.wait(timeout)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._handle is not None:
            self._handle.signal(number)

    def __repr__(self) -> str:
        return f"<WorkerHandle pid={self.pid} {'alive' if self.is_alive() else 'ended'}>"


def handles_of(executor: Any) -> dict[int, WorkerHandle]:
    """The workers of a process pool by process id.

    Waits for those that are being started: the standard pool's are when ``submit`` returns.
    """
    deadline = time.monotonic() + _START_PATIENCE_S
    while any(pid == 0 for _, pid, _, _ in executor._workers()) and time.monotonic() < deadline:
        time.sleep(0.001)
    return {pid: WorkerHandle(pid) for _, pid, _, _ in executor._workers() if pid}
