"""Threads, and what they wait on: the names of the standard module, over our primitives.

Mirrors `threading <https://docs.python.org/3/library/threading.html>`_; everything it exports is
here. `Lock`, `RLock`, `Condition`, `Semaphore`, `BoundedSemaphore`, `Event`, `Barrier`, `Thread`
and `Timer` are ours. New are `RwLock`, `ThreadGroup`, `DeadlockError`, `set_deadlock_mode` and
`deadlock_mode`.

Different from the standard module: `Thread.join` raises what the thread raised; a wait that can
never end raises `DeadlockError`. Hooks (`excepthook`) are assigned to the standard module's name.

>>> from manyhands.threading import Lock, ThreadGroup
>>> lock, portions = Lock(), []
>>> def cook(dish):
...     with lock:
...         portions.append(dish)
>>> with ThreadGroup() as kitchen:
...     for dish in ("soup", "rice"):
...         _ = kitchen.start(cook, dish)
>>> sorted(portions)
['rice', 'soup']
"""

import threading as _standard
from threading import *  # noqa: F403

# Bound after the standard module's, so these are what the names mean.
from ._locks import (  # type: ignore[assignment]
    Barrier,
    BoundedSemaphore,
    Condition,
    DeadlockError,
    Event,
    Lock,
    RLock,
    RwLock,
    Semaphore,
    deadlock_mode,
    set_deadlock_mode,
)
from ._thread import Thread
from ._thread_group import ThreadGroup
from ._timer import Timer  # type: ignore[assignment]

__all__ = [  # noqa: PLE0604
    *_standard.__all__,
    "DeadlockError",
    "RwLock",
    "ThreadGroup",
    "deadlock_mode",
    "set_deadlock_mode",
]


def __getattr__(name: str) -> object:
    """What the standard module has without exporting it."""
    return getattr(_standard, name)
