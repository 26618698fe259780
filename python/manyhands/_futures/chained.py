"""Futures that asyncio mirrors, for the one moment when asyncio cannot pass a cancel on.

``loop.run_in_executor`` and ``await`` tie an asyncio future to one of ours. A cancel of the
asyncio future reaches ours in the next turn of the loop. A coroutine that leaves the executor's
``with`` block right after the cancel stops the loop from ever taking that turn: it would wait for
a task that nobody wants any more. `pass_cancels_on` therefore takes the turn's place.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

__all__ = ["note", "pass_cancels_on"]

_mirrored: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def note(future: Any, callback: Any) -> None:
    """Remember which asyncio future mirrors `future`; `callback` is the one asyncio added."""
    names = callback.__code__.co_freevars
    if "destination" in names:
        mirror = callback.__closure__[names.index("destination")].cell_contents
        _mirrored[future] = weakref.ref(mirror)


def pass_cancels_on() -> None:
    """Stop the tasks whose asyncio futures were cancelled; called before a wait for tasks.

    Does something only in a thread whose event loop runs: the wait will block that loop.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return
    for future, reference in list(_mirrored.items()):
        mirror = reference()
        if mirror is not None and mirror.cancelled() and not future.done():
            future.cancel(running=True)
