"""Daemon threads die with the main thread (row T2).

Two daemons count, one to 20,000 and one to 10,000, a number a millisecond.  Main does not wait for
them: the program ends while they are counting.  A daemon that is joined finishes like any thread.
"""

import time

from manyhands.threading import Thread


def count(name, limit, pause_s=0.001):
    for _ in range(limit):
        time.sleep(pause_s)
    print(f"{name} has counted to {limit}")


first = Thread(target=count, args=("first", 20_000), daemon=True)
second = Thread(target=count, args=("second", 10_000), daemon=True)
joined = Thread(target=count, args=("joined", 100), daemon=True)
for thread in (first, second, joined):
    thread.start()

print(f"daemons: {first.daemon}, {second.daemon}, {joined.daemon}")
joined.join()
print(f"main ends; still counting: {first.is_alive()}, {second.is_alive()}")
