"""`multiprocessing.shared_memory` on the family heap: blocks that nobody has to clean up.

Mirrors https://docs.python.org/3/library/multiprocessing.shared_memory.html; docs/shared-values.md
has the differences.

>>> from manyhands.multiprocessing.shared_memory import ShareableList
>>> squares = ShareableList([0, 1, 4])
>>> squares[2]
4
>>> squares.shm.close()
>>> squares.shm.unlink()
"""

from manyhands._mp.sharing.shared_memory import ShareableList, SharedMemory

__all__ = ["ShareableList", "SharedMemory"]

for _public in (ShareableList, SharedMemory):
    _public.__module__ = __name__
