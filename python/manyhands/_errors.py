"""The exceptions of manyhands: each derives from the standard class it refines.

Guarantees: code that catches the standard library's exceptions catches these too.
"""

import pickle
from concurrent.futures.process import BrokenProcessPool

__all__ = ["Cancelled", "UnpicklableResult", "WorkerCrashed"]


class Cancelled(BaseException):
    """Raised inside a running task that is being stopped.

    It derives from BaseException so that ``except Exception`` in the task does not swallow it.
    A task may catch it to clean up and should then let it go. Whoever waits for the future does
    not see it: ``result()`` raises `concurrent.futures.CancelledError`, or TimeoutError if the
    task ran longer than its ``options(timeout=...)`` allows.
    """


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


for _class in (Cancelled, WorkerCrashed, UnpicklableResult):
    _class.__module__ = "manyhands"
del _class
