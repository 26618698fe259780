"""Locks, semaphores, conditions, events and barriers between processes.

Mirrors `multiprocessing.synchronize`; see `manyhands._mp.sharing.synchronize`.
"""

from manyhands._mp.sharing.owner_died import OwnerDied, owner_died_mode, set_owner_died_mode
from manyhands._mp.sharing.synchronize import (
    SEM_VALUE_MAX,
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
    SemLock,
)

__all__ = [
    "SEM_VALUE_MAX",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "OwnerDied",
    "RLock",
    "SemLock",
    "Semaphore",
    "owner_died_mode",
    "set_owner_died_mode",
]
