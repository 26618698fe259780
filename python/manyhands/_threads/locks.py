"""The primitives of `manyhands.threading`: compiled classes, and the deadlock detector's switch.

Guarantees: loading this loads the compiled runtime, and nothing of `threading` is replaced. A
subclass may have attributes of its own under any name that the standard class leaves free, such as
`name`, or keeps as a plain attribute, such as `_lock`.
"""

from typing import Any

from manyhands._runtime import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    RwLock,
    Semaphore,
)
from manyhands._threads.deadlock import DeadlockError, deadlock_mode, set_deadlock_mode

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


class _Shadowed:
    """A read-only attribute of a compiled class, which an instance's own attribute hides."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self.__doc__ = compiled.__doc__

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else self.compiled.__get__(instance, owner)


def _let_subclasses_have(*names: str) -> None:
    """Makes the compiled attributes of these names give way to a subclass's own."""
    for compiled in (Barrier, Condition, Event, RLock, RwLock, Semaphore):
        for name in names:
            attribute = vars(compiled).get(name)
            if attribute is not None and not isinstance(attribute, _Shadowed):
                setattr(compiled, name, _Shadowed(attribute))


_let_subclasses_have("name", "_lock", "_waiters", "_value", "_initial_value")
