"""The drop-in for `queue`: change the import, keep the program.

>>> from manyhands.queue import Empty, Queue, ShutDown
"""

from ._queue import LifoQueue, PriorityQueue, Queue, SimpleQueue
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
