"""The exceptions of manyhands.

Guarantees: where the standard library has an exception for the case, ours derives from it, so
code that catches the standard one catches ours too.
"""

import pickle
from concurrent.futures.process import BrokenProcessPool

__all__ = ["Cancelled", "RemoteError", "UnpicklableResult", "WorkerCrashed"]


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


class RemoteError(Exception):
    """Stands for an exception of a task that could not be sent to the parent.

    Its text names the original type, its message and why it could not travel; the worker's
    traceback is its ``__cause__``. The standard module breaks the whole pool in this case.

    >>> str(RemoteError("app.Odd", "no luck", "its class cannot be pickled"))
    'app.Odd: no luck (the exception itself stayed in the worker: its class cannot be pickled)'
    """

    def __init__(self, type_name: str, message: str, reason: str) -> None:
        super().__init__(type_name, message, reason)
        self.type_name = type_name
        self.message = message
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.type_name}: {self.message} "
            f"(the exception itself stayed in the worker: {self.reason})"
        )


for _class in (Cancelled, WorkerCrashed, UnpicklableResult, RemoteError):
    _class.__module__ = "manyhands"
del _class
