"""The exceptions of manyhands.

Guarantees: where the standard library has an exception for the case, ours derives from it, so
code that catches the standard one catches ours too.
"""

import pickle
from concurrent.futures.process import BrokenProcessPool

from manyhands._errors.tasks import Cancelled, RemoteError

__all__ = ["Cancelled", "RemoteError", "UnpicklableResult", "WorkerCrashed"]


class WorkerCrashed(BrokenProcessPool):
    """The worker process that ran the task died; the pool goes on.

    Attributes: ``task`` (the task's name or None), ``pid``, ``signal`` (the number that killed
    it or None), ``exitcode`` (or None), ``traceback`` (the worker's last traceback as text, or
    None).
    """

    def __init__(
        self,
        message: str = "",
        *,
        task: str | None = None,
        pid: int | None = None,
        signal: int | None = None,
        exitcode: int | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self.task = task
        self.pid = pid
        self.signal = signal
        self.exitcode = exitcode
        self.traceback = traceback


class UnpicklableResult(BrokenProcessPool, pickle.UnpicklingError):
    """An argument, result or exception cannot be unpickled on the other side."""


for _class in (WorkerCrashed, UnpicklableResult):
    _class.__module__ = "manyhands"
del _class
