"""What `install()` puts under the names of the standard `threading`.

Guarantees: an unmodified program sees the behaviour it knows: threads do not propagate their
exceptions to whoever joins them.
"""

from manyhands._threads.locks import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
)
from manyhands._threads.thread import PlainThread as Thread
from manyhands._threads.timer import Timer

# What the standard `RLock()` makes its locks of.
_CRLock = RLock

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
    "Thread",
    "Timer",
    "_CRLock",
]
