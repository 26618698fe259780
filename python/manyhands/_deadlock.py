"""What the deadlock detector needs of Python: its error, names of threads, signal handlers.

`crates/sync/src/deadlock` finds deadlocks and proves them; what is here only runs when one has been
found, in the thread that found it.
"""

import signal
import sys
import threading
import warnings

__all__ = ["DeadlockError", "deliver", "handles_signals", "print_report", "thread_names"]

# Looked up before `install()` may replace them: a report must not wait for anybody.
_enumerate = threading.enumerate


class DeadlockError(RuntimeError):
    """This wait could never have ended: its text shows who waits for what, and where.

    Raised in one of the threads that are part of it. The others go on if what this thread holds
    is given back, which leaving its ``with`` blocks does.
    """


DeadlockError.__module__ = "manyhands.threading"


def deliver() -> None:
    """Does nothing: entering it lets an asynchronous exception of this thread be raised."""


def thread_names() -> dict[int, str]:
    """The names of the program's threads, by the kernel's numbers."""
    return {thread.native_id: thread.name for thread in _enumerate() if thread.native_id}


def handles_signals() -> bool:
    """Whether a signal may run code of the program in the main thread."""
    boring = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)
    return any(signal.getsignal(number) not in boring for number in signal.valid_signals())


def print_report(text: str) -> None:
    """Prints a report, as the mode "report" asks for."""
    if sys.stderr is None:
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return
    print(f"manyhands: {text}", file=sys.stderr, flush=True)
