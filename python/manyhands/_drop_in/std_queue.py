"""The classes of the standard `queue`, also while `install()` has put ours under their names."""

import queue
from typing import TYPE_CHECKING

from manyhands._drop_in.installer import standard

__all__ = ["LifoQueue", "PriorityQueue", "Queue"]

if TYPE_CHECKING:
    from queue import LifoQueue, PriorityQueue, Queue
else:
    Queue = standard(queue, "Queue")
    LifoQueue = standard(queue, "LifoQueue")
    PriorityQueue = standard(queue, "PriorityQueue")
