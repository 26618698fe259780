"""Processes share nothing by themselves (row M3).

Nine processes add to what each takes for the same counter; the parent's stays 0. The shared variant
is process_shared_value.py.
"""

from manyhands.multiprocessing import Process

counter = 0


def add(amount):
    global counter
    counter += amount
    return counter


processes = [Process(target=add, args=(n,)) for n in range(1, 10)]
for process in processes:
    process.start()
print(f"in the processes: {[process.result() for process in processes]}")
print(f"in the parent: {counter}")
