"""What the deadlock detector needs of Python: an error, a mode, threads' names, signal handlers.

`crates/sync/src/deadlock` finds deadlocks and proves them. Except for the mode, what is here only
runs when one has been found, in the thread that found it.
"""

import signal
import sys
import threading
import warnings
from typing import Literal

from manyhands import _runtime

__all__ = [
    "DeadlockError",
    "deadlock_mode",
    "handles_signals",
    "print_report",
    "set_deadlock_mode",
    "thread_names",
]

Mode = Literal["raise", "report", "off"]

# Looked up before `install()` may replace them: a report must not wait for anybody.
_enumerate = threading.enumerate


class DeadlockError(RuntimeError):
    """This wait could never have ended: its text shows who waits for what, and where.

    Raised in one of the threads that are part of it. The others go on if what this thread holds
    is given back, which leaving its ``with`` blocks does.
    """


def set_deadlock_mode(mode: Mode) -> None:
    """Sets what happens when a wait turns out to be part of a deadlock, in this process.

    Waits that have begun keep the mode they began with. The environment variable
    ``MANYHANDS_DEADLOCK`` sets the mode a process starts with, ``manyhands run --deadlock=MODE``
    that of a program; without them it is ``"raise"``.

    Args:
        mode: ``"raise"``: one of the threads gets `DeadlockError`. ``"report"``: the report is
            printed on standard error and the threads wait on. ``"off"``: nobody looks.

    Raises:
        ValueError: another mode.

    >>> set_deadlock_mode("report")
    >>> deadlock_mode()
    'report'
    >>> set_deadlock_mode("raise")
    """
    _runtime.set_deadlock_mode(mode)


def deadlock_mode() -> Mode:
    """What happens when a deadlock is found: ``"raise"``, ``"report"`` or ``"off"``."""
    return _runtime.deadlock_mode()


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
    sys.stderr.write(f"manyhands: {text}\n")
    sys.stderr.flush()


for _public in (DeadlockError, set_deadlock_mode, deadlock_mode):
    _public.__module__ = "manyhands.threading"
del _public
