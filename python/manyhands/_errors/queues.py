"""The exceptions of `manyhands.queue`: the standard ones, where there are.

`Empty` and `Full` always are; `ShutDown` is the standard class since Python 3.13.
"""

import sys
from queue import Empty, Full

__all__ = ["Empty", "Full", "ShutDown"]

if sys.version_info >= (3, 13):
    from queue import ShutDown
else:

    class ShutDown(Exception):
        """Raised when an item is put into, or got from, a queue that was shut down."""

    ShutDown.__module__ = "manyhands.queue"
