"""The primitives of `manyhands.threading`: compiled classes, and the deadlock detector's switch.

Guarantees: loading this loads the compiled runtime, and nothing of `threading` is replaced.
"""

from ._deadlock import DeadlockError, deadlock_mode, set_deadlock_mode
from ._runtime import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    RwLock,
    Semaphore,
)

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "DeadlockError",
    "Event",
    "Lock",
    "RLock",
    "RwLock",
    "Semaphore",
    "deadlock_mode",
    "set_deadlock_mode",
]
