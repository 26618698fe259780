"""Two threads take two locks in opposite order: told, not hung (row T5).

With the standard module this program hangs.  Here one of the two threads gets a DeadlockError
which says who holds what, since which line, and who waits where.  Leaving its ``with`` block gives
its lock back, so the other thread goes on.
"""

import threading
import time

from manyhands.threading import DeadlockError, Lock, Thread

salt, pepper = Lock(name="salt"), Lock(name="pepper")
both_hold_one = threading.Barrier(2)
told = []


def season(first, second):
    """Take one lock, and then the other one."""
    try:
        with first:
            both_hold_one.wait()
            with second:
                print(f"{threading.current_thread().name} has {first.name} and {second.name}")
    except DeadlockError as error:
        told.append(error)


threads = [
    Thread(target=season, args=(salt, pepper), name="anna"),
    Thread(target=season, args=(pepper, salt), name="ben"),
]
started = time.monotonic()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(f"told within a second: {time.monotonic() - started < 1}")
for error in told:
    print(error)

# The cure: everybody takes the locks in the same order.
both_hold_one = threading.Barrier(1)
for name in ("anna", "ben"):
    thread = Thread(target=season, args=(salt, pepper), name=name)
    thread.start()
    thread.join()
