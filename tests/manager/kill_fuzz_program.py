"""Workers change managed containers while random ones are killed; then everything is looked at.

Run as ``kill_fuzz_program.py N_KILLS SEED``; prints what it found as JSON.
"""

import json
import os
import random
import signal
import sys
import time

from manyhands import multiprocessing

N_WORKERS = 3
context = multiprocessing.get_context("fork")


def work(shared, seed, row, tallies):
    chance = random.Random(seed)
    d, deck, nested, counts = shared
    while True:
        key = chance.randrange(50)
        match chance.randrange(8):
            case 0:
                d[key] = [key, "x" * chance.choice([1, 100, 1000, 5000])]
            case 1:
                d.pop(key, None)
            case 2:
                d.update({key: [key, "y"], key + 1: [key + 1, "z"]})
            case 3:
                value = d.get(key)
                assert value is None or value[0] == key
            case 4:
                deck.sort(key=lambda card: chance.random())
            case 5:
                nested[key % 5] = shared[2] if key == 0 else d
            case 6:
                nested.pop(key % 5, None)
            case _:
                counts.add("n")
                tallies[row] += 1


def main(n_kills, seed):
    chance = random.Random(seed)
    manager = multiprocessing.Manager()
    shared = manager.dict(), manager.list(range(52)), manager.dict(), manager.dict(n=0)
    tallies = context.RawArray("q", n_kills + N_WORKERS)
    started = 0

    def start():
        nonlocal started
        args = shared, chance.random(), started, tallies
        process = context.Process(target=work, args=args)
        process.start()
        started += 1
        return process

    workers = [start() for _ in range(N_WORKERS)]
    faults = []
    for _ in range(n_kills):
        time.sleep(chance.random() * 0.03)
        victim = workers.pop(chance.randrange(N_WORKERS))
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        if victim.exitcode != -signal.SIGKILL:
            faults.append(f"a worker ended by itself: {victim.exitcode}")
        faults += look(*shared)
        workers.append(start())
    for worker in workers:
        worker.kill()
        worker.join()
    faults += look(*shared)
    noted, counted = sum(tallies), shared[3]["n"]
    if not noted <= counted <= noted + started:
        faults.append(f"{counted} were counted, {noted} noted")
    print(json.dumps({"n_killed": n_kills, "n_counted": counted, "faults": faults}))


def look(d, deck, nested, counts):
    with d.locked():
        pairs = d.items()
        if len(d) != len(pairs):
            yield f"{len(d)} keys are counted, {len(pairs)} are there"
    for key, value in pairs:
        if value[0] != key:
            yield f"the value of {key} is {value}"
    # Not an iteration, which would see several orders.
    cards = deck[:]
    if sorted(cards) != list(range(52)):
        yield f"the deck is {cards}"
    for value in nested.values():
        if not hasattr(value, "locked"):
            yield f"a nested value is {value}"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
