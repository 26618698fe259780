"""The drop-in for `queue`: change the import, keep the program.

`SimpleQueue` is the standard class itself: it is written in C, and ours was slower.

>>> from manyhands.queue import Empty, Queue, ShutDown
"""

from queue import SimpleQueue

from ._queue import LifoQueue, PriorityQueue, Queue
from ._queue_errors import Empty, Full, ShutDown

__all__ = [
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
]
