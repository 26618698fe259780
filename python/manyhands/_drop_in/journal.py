"""Every change to an object that is not ours, with its way back.

An entry says what had which value before and after. `Journal.undo` goes through the entries in
reverse order and leaves alone what somebody else has changed since.

Guarantees: no other code of the package replaces a function, class or stream of the standard
library; an entry that was made *weakly* does not keep alive what it changed.

What it does not do: it has no lock. Callers that use one journal from several threads bring one.
"""

import weakref
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ABSENT = object()


class Journal:
    """Changes of attributes, in the order in which they were made.

    >>> class Standard:
    ...     limit = 1
    >>> journal = Journal()
    >>> journal.set(Standard, "limit", 2)
    1
    >>> journal.undo()
    >>> Standard.limit
    1
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def set(self, owner: "Any", name: str, value: object, *, weakly: bool = False) -> object:
        """Gives an attribute a value (`ABSENT`: takes it away); what it was before."""
        before = _read(owner, name)
        _write(owner, name, value)
        reach = weakref.ref(owner) if weakly else lambda: owner
        self._entries.append(_Entry(reach, name, before, value))
        return before

    def supplied(self, owner: "Any", name: str, value: object) -> object:
        """A name that was taken away has got its value after all; the value it has now."""
        current = _read(owner, name)
        if current is not ABSENT:
            return current
        for entry in self._entries:
            if entry.reach() is owner and entry.name == name:
                entry.after = value
                _write(owner, name, value)
        return value

    def undo(self) -> None:
        """Takes all changes back, the last one first."""
        while self._entries:
            entry = self._entries.pop()
            owner = entry.reach()
            if owner is not None and _read(owner, entry.name) is entry.after:
                _write(owner, entry.name, entry.before)


class _Entry:
    __slots__ = ("after", "before", "name", "reach")

    def __init__(
        self, reach: "Callable[[], Any]", name: str, before: object, after: object
    ) -> None:
        self.reach = reach
        self.name = name
        self.before = before
        self.after = after


def _read(owner: "Any", name: str) -> object:
    # The value itself, not what a descriptor makes of it; these three are descriptors of `type`.
    if name in ("__bases__", "__class__", "__module__"):
        return getattr(owner, name)
    return vars(owner).get(name, ABSENT)


def _write(owner: "Any", name: str, value: object) -> None:
    if isinstance(owner, ModuleType) and name != "__class__":
        # Past a class that answers for the module.
        if value is ABSENT:
            vars(owner).pop(name, None)
        else:
            vars(owner)[name] = value
    elif value is ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, value)
