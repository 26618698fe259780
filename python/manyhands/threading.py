"""Threads, and what they wait on: the names of the standard module, over our primitives.

Mirrors `threading <https://docs.python.org/3/library/threading.html>`_; everything it exports is
here. `Lock`, `RLock`, `Condition`, `Semaphore`, `BoundedSemaphore`, `Event`, `Barrier`, `Thread`
and `Timer` are ours. New are `RwLock`, `ThreadGroup`, `DeadlockError`, `set_deadlock_mode` and
`deadlock_mode`.

Different from the standard module: `Thread.join` raises what the thread raised; a wait that can
never end raises `DeadlockError`. There is one `excepthook`: assigning it here or in the standard
module is the same.

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

import sys as _sys
import threading as _standard
from threading import *  # noqa: F403
from types import ModuleType as _ModuleType

# Bound after the standard module's, so these are what the names mean.
from manyhands._threads.locks import (  # type: ignore[assignment]
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
from manyhands._threads.thread import Thread
from manyhands._threads.thread_group import ThreadGroup
from manyhands._threads.timer import Timer  # type: ignore[assignment]

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


class _WithHook(_ModuleType):
    """This module: its `excepthook` is the one that threads look up, the standard module's."""

    @property
    def excepthook(self) -> object:
        """Called with what a thread raised and nobody took (`threading.ExceptHookArgs`)."""
        return _standard.excepthook

    @excepthook.setter
    def excepthook(self, hook: object) -> None:
        _standard.excepthook = hook  # type: ignore[assignment]


# A copy here would be what `excepthook` was when this module was loaded.
del excepthook  # noqa: F821
_sys.modules[__name__].__class__ = _WithHook
