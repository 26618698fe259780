"""The exceptions of manyhands that workers need: importable without the standard module.

`pools` has all of them; this part alone costs a starting worker next to nothing.
"""

__all__ = ["Cancelled", "RemoteError"]


class Cancelled(BaseException):
    """Raised inside a running task that is being stopped.

    It derives from BaseException so that ``except Exception`` in the task does not swallow it.
    A task may catch it to clean up and should then let it go. Whoever waits for the future does
    not see it: ``result()`` raises `concurrent.futures.CancelledError`, or TimeoutError if the
    task ran longer than its ``options(timeout=...)`` allows.
    """


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


for _class in (Cancelled, RemoteError):
    _class.__module__ = "manyhands"
del _class
