"""Starting one thread with a stack of its own size.

The size is a setting of the whole process (`threading.stack_size`), read when a thread is made.

Guarantees: threads that are started through here, several at once too, get the size that was
asked for; a signal handler that starts one in between is not blocked.

What it does not do: a thread that somebody starts by other means in the same moment may get the
size meant for ours.
"""

import os
import threading
from collections.abc import Callable

from manyhands._runtime import RLock

__all__ = ["check", "start"]

# Reentrant: a signal handler may start a thread while one is being started.
_changing = RLock(name="stack size of the next thread")
os.register_at_fork(after_in_child=_changing._at_fork_reinit)

_stack_size = threading.stack_size


def check(size: int) -> None:
    """Refuses a size that no thread can be started with.

    Raises:
        TypeError: it is not a whole number.
        ValueError: it is too small, or not what the system allows.
    """
    with _changing:
        try:
            before = _stack_size(size)
        except ValueError:
            raise ValueError(
                f"stack_size must be 0 (the default) or at least 32768 bytes, and a multiple of "
                f"the page size on some systems, not {size}"
            ) from None
        _stack_size(before)


def start(start_thread: Callable[[], None], size: int | None) -> None:
    """Calls `start_thread` while `size` is what new threads get; None: the size set for all.

    >>> start(lambda: print(_stack_size()), 65536)
    65536
    """
    if size is None:
        if _changing.locked():
            # Somebody else's size is set, but not for long.
            with _changing:
                pass
        start_thread()
        return
    with _changing:
        before = _stack_size(size)
        try:
            start_thread()
        finally:
            _stack_size(before)
