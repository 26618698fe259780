"""A process ended while it held a shared lock: what the lock's next owner is told, and how."""

from __future__ import annotations

import os
import warnings
from typing import Literal

__all__ = ["OwnerDied", "owner_died_mode", "set_owner_died_mode", "tell"]

Mode = Literal["warn", "raise", "ignore"]

_MODES = ("warn", "raise", "ignore")
_VARIABLE = "MANYHANDS_OWNER_DIED"


class OwnerDied(RuntimeWarning):
    """The process that held this lock ended without releasing it.

    What the lock guards may be half-changed. The lock itself goes on: it has a new owner.

    A warning by default; an error for locks made with ``owner_died="raise"``, or after
    ``set_owner_died_mode("raise")``. ``acquire`` raises it *with the lock held*: mend what the lock
    guards, then release it. A ``with`` statement raises it without the lock, and whoever
    acquires the lock next is told again.

    >>> issubclass(OwnerDied, RuntimeWarning)
    True
    """


def _from_environment() -> Mode:
    word = os.environ.get(_VARIABLE, "warn")
    if word not in _MODES:
        warnings.warn(
            f"{_VARIABLE} must be 'warn', 'raise' or 'ignore', not {word!r}; it will warn",
            RuntimeWarning,
            stacklevel=2,
        )
        return "warn"
    return word  # type: ignore[return-value]


_mode: Mode = _from_environment()


def set_owner_died_mode(mode: Mode) -> None:
    """Sets what the next owner of a shared lock gets when the owner before it died with it.

    It holds for this process and for locks that were made without ``owner_died=``. The environment
    variable ``MANYHANDS_OWNER_DIED`` sets what a process starts with; without it it is ``"warn"``.

    Args:
        mode: ``"warn"``: an `OwnerDied` warning. ``"raise"``: the same as an error.
            ``"ignore"``: nothing.

    Raises:
        ValueError: another mode.

    >>> set_owner_died_mode("ignore")
    >>> owner_died_mode()
    'ignore'
    >>> set_owner_died_mode("warn")
    """
    global _mode
    if mode not in _MODES:
        raise ValueError(f"the mode must be 'warn', 'raise' or 'ignore', not {mode!r}")
    _mode = mode


def owner_died_mode() -> Mode:
    """What the next owner gets: ``"warn"``, ``"raise"`` or ``"ignore"``."""
    return _mode


def tell(mode: Mode | None, pid: int | None, what: str) -> None:
    """Tells the calling thread, which has the lock `what` now, that its owner died."""
    mode = mode or _mode
    if mode == "ignore":
        return
    who = "a process" if pid is None else f"process {pid}"
    died = OwnerDied(
        f"{who} ended while it held the {what}: what the lock guards may be half-changed. Check it "
        f"before you use it"
    )
    if mode == "raise":
        raise died
    warnings.warn(died, stacklevel=2)


for _public in (OwnerDied, owner_died_mode, set_owner_died_mode):
    _public.__module__ = "manyhands.multiprocessing"
del _public
