"""Nine processes count to 450 together, in three ways (row M4).

Without anything between the read and the write, two processes may read the same number, and one
step is lost; how many are differs from run to run, and the lost-update detector says where.  With
the lock held, or with an atomic operation, it is 450 every time.
"""

import sys
import time

from manyhands import multiprocessing

N_PROCESSES = 9
N_STEPS = 50


def count_unsynchronised(counter):
    """Read, compute, write: anybody may write in between."""
    for _ in range(N_STEPS):
        now = counter.value
        time.sleep(0.0001)
        counter.value = now + 1


def count_with_the_lock(counter):
    """Nobody else reads or writes while the block runs."""
    for _ in range(N_STEPS):
        with counter.get_lock():
            counter.value += 1


def count_atomically(counter):
    """One step, which needs no lock of yours."""
    for _ in range(N_STEPS):
        counter.add(1)


def together(everybody, count, counter):
    """Count once all nine processes are there."""
    everybody.wait()
    count(counter)


def run(count):
    """Let nine processes count; return the counter."""
    counter = multiprocessing.Value("i", 0)
    everybody = multiprocessing.Barrier(N_PROCESSES)
    processes = [
        multiprocessing.Process(target=together, args=(everybody, count, counter))
        for _ in range(N_PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return counter


multiprocessing.set_lost_update_mode("report")
for count in (count_unsynchronised, count_with_the_lock, count_atomically):
    counter = run(count)
    n_lost = counter.statistics()["lost_updates"]
    print(f"{count.__name__}: {counter.value}, updates seen lost: {n_lost}", flush=True)
    if count is not count_unsynchronised and (counter.value, n_lost) != (450, 0):
        sys.exit("this should never happen")
