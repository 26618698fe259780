"""A lost update, and two ways to mend it with a lock (row T4).

Two workers make three updates.  An update reads the value, computes for a while, and writes it
back: without a lock two of them read the same value, and one update is lost.
"""

import time

from manyhands.futures import ThreadPoolExecutor
from manyhands.threading import Lock


class FakeDataStore:
    """Stands for a database: one value, and a computation that takes a while."""

    def __init__(self):
        self.value = 0
        self.lock = Lock(name="data store")

    def update(self, name):
        """Add one, unguarded."""
        local_copy = self.value
        local_copy += 1
        time.sleep(0.1)
        self.value = local_copy

    def update_in_a_block(self, name):
        """Add one; the block holds the lock, and gives it back even if it fails."""
        with self.lock:
            self.update(name)

    def update_by_hand(self, name):
        """Add one; what is acquired has to be released, come what may."""
        self.lock.acquire()
        try:
            self.update(name)
        finally:
            self.lock.release()


for how in ("update", "update_in_a_block", "update_by_hand"):
    store = FakeDataStore()
    with ThreadPoolExecutor(max_workers=2) as executor:
        list(executor.map(getattr(store, how), range(3)))
    print(f"{how}: three updates make {store.value}")
