"""Workers count with atomics and locks while random ones are killed; then the sums are checked.

Run as ``kill_fuzz_program.py N_KILLS SEED``; prints what it found as JSON.

A worker notes each step in a tally of its own after it made it. So a kill leaves at most one step
of that worker that is counted but not noted, and none that is noted but not counted.
"""

import json
import os
import random
import signal
import sys
import time
import warnings

from manyhands import multiprocessing

N_WORKERS = 3
KINDS = ("add", "float add", "compare_exchange", "element add", "locked", "locked element")
context = multiprocessing.get_context("fork")


def work(values, tallies, row, stop):
    warnings.simplefilter("ignore")  # What a lock says of its last owner is not the subject.
    counter, total, loop, elements, locked, locked_elements = values
    while not stop.value:
        counter.add(1)
        tallies[row] += 1
        total.add(0.5)
        tallies[row + 1] += 1
        while True:
            now = loop.value
            if loop.compare_exchange(now, now + 1):
                break
        tallies[row + 2] += 1
        elements.add(row % 5, 1)
        tallies[row + 3] += 1
        with locked.get_lock():
            locked.value += 1
        tallies[row + 4] += 1
        with locked_elements.get_lock():
            locked_elements[row % 3] += 1
        tallies[row + 5] += 1


def noted_so_far(tallies):
    return [sum(tallies[idx :: len(KINDS)]) for idx in range(len(KINDS))]


def main(n_kills, seed):
    warnings.simplefilter("ignore")
    chance = random.Random(seed)
    values = (
        context.Value("q"),
        context.Value("d"),
        context.Value("i"),
        context.Array("q", 5),
        context.Value("q"),
        context.Array("I", 3),
    )
    tallies = context.RawArray("q", len(KINDS) * (n_kills + N_WORKERS))
    stop = context.RawValue("b")
    n_started = 0
    workers = []

    def start():
        nonlocal n_started
        row = len(KINDS) * n_started
        worker = context.Process(target=work, args=(values, tallies, row, stop))
        worker.start()
        workers.append(worker)
        n_started += 1

    for _ in range(N_WORKERS):
        start()
    for _ in range(n_kills):
        time.sleep(chance.uniform(0.0, 0.008))
        victim = workers.pop(chance.randrange(N_WORKERS))
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        start()
    # On a slow machine none may have come to its last kind of step so far.
    while not all(noted_so_far(tallies)):
        time.sleep(0.001)
    stop.value = 1
    for worker in workers:
        worker.join()
    noted = noted_so_far(tallies)
    counter, total, loop, elements, locked, locked_elements = values
    counted = [
        counter.value,
        total.value * 2,
        loop.value,
        sum(elements),
        locked.value,
        sum(locked_elements),
    ]
    print(json.dumps({"noted": noted, "counted": counted, "kinds": KINDS}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
