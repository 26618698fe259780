"""`multiprocessing.queues` on the family heap: no feeder thread, nothing to join.

Mirrors https://docs.python.org/3/library/multiprocessing.html#pipes-and-queues;
docs/shared-queues.md has the differences.

>>> from manyhands.multiprocessing.queues import SimpleQueue
>>> queue = SimpleQueue()
>>> queue.put("rice")
>>> queue.get()
'rice'
"""

from manyhands._queues.process_queue import Empty, Full, JoinableQueue, Queue, ShutDown, SimpleQueue

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "ShutDown", "SimpleQueue"]
