"""The drop-in for `queue`: change the import, keep the program.

`SimpleQueue` is the standard class itself: it is written in C, and ours was slower.

>>> from manyhands.queue import Empty, Queue, ShutDown
"""

from queue import SimpleQueue

from manyhands._errors.queues import Empty, Full, ShutDown
from manyhands._queues.thread_queue import LifoQueue, PriorityQueue, Queue

__all__ = [
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
]
