"""The exceptions of `manyhands.queue`: the standard ones, where there are.

`Empty` and `Full` always are; `ShutDown` is the standard class since Python 3.13.
"""

import queue

__all__ = ["Empty", "Full", "ShutDown"]

from queue import Empty, Full

if hasattr(queue, "ShutDown"):
    ShutDown: type[Exception] = queue.ShutDown
else:

    class _ShutDown(Exception):
        """Raised when an item is put into, or got from, a queue that was shut down."""

    _ShutDown.__name__ = _ShutDown.__qualname__ = "ShutDown"
    _ShutDown.__module__ = "manyhands.queue"
    ShutDown = _ShutDown
