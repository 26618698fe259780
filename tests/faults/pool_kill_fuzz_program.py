"""The kill-fuzz of `multiprocessing.Pool`: random workers die under every kind of call.

Run as ``pool_kill_fuzz_program.py START_METHOD N_KILLS SEED`` inside a `family_watch.Family`. It
prints one JSON object with what it saw; the test judges it. A killed worker may cause
`WorkerCrashed` for the task it was running and nothing else.
"""

import collections
import json
import os
import random
import sys
import threading
import time

import family_watch
import hostile_tasks as tasks
from manyhands import WorkerCrashed
from manyhands.multiprocessing import get_context

PAUSES_S = (0, 0.002, 0.005, 0.01, 0.03)
N_ITEMS = 60


def work(number):
    """A task of a random length and a result of a random size."""
    if number % 3 == 0:
        time.sleep(0.001)
    return number, bytes(number * 997 % 5000)


def expected(number):
    return number, bytes(number * 997 % 5000)


class Tally:
    def __init__(self):
        self.outcomes = collections.Counter()
        self.n_tasks = 0

    def count(self, numbers, get):
        """One task, of all these numbers."""
        self.n_tasks += 1
        try:
            right = get() == [expected(number) for number in numbers]
            self.outcomes["result" if right else "wrong result"] += 1
        except WorkerCrashed:
            self.outcomes["crashed"] += 1
        except BaseException as error:
            self.outcomes[f"wrong: {error!r}"] += 1


def one_round(pool, tally, random_source):
    start = random_source.randrange(1000)
    numbers = list(range(start, start + N_ITEMS))
    kind = random_source.randrange(5)
    if kind == 0:
        called_back = []
        results = [
            pool.apply_async(work, (n,), {}, called_back.append, called_back.append)
            for n in numbers
        ]
        for number, result in zip(numbers, results, strict=True):
            tally.count([number], lambda result=result: [result.get(60)])
        if len(called_back) != len(numbers):
            tally.outcomes[f"wrong: {len(called_back)} callbacks"] += 1
    elif kind == 1:
        tally.count(numbers, lambda: pool.map(work, numbers, 7))
    elif kind == 2:
        tally.count(numbers, lambda: pool.starmap(work, [(n,) for n in numbers], 1))
    elif kind == 3:
        results = pool.imap(work, iter(numbers))
        for number in numbers:
            tally.count([number], lambda: [results.next(60)])
        if next(results, None) is not None:
            tally.outcomes["wrong: imap has more"] += 1
    else:
        left = set(numbers)
        results = pool.imap_unordered(work, numbers)
        for _ in numbers:
            tally.n_tasks += 1
            try:
                number, payload = results.next(60)
                right = number in left and (number, payload) == expected(number)
                left.discard(number)
                tally.outcomes["result" if right else "wrong result"] += 1
            except WorkerCrashed:
                tally.outcomes["crashed"] += 1
        if next(results, None) is not None:
            tally.outcomes["wrong: imap_unordered has more"] += 1


def kill_workers(pool, n_kills, seed, finished):
    token = os.environ[family_watch.TOKEN_NAME]
    random_source = random.Random(seed)
    n_sent = 0
    while n_sent < n_kills:
        workers = pool._pool
        if workers:
            n_sent += family_watch.kill_member(random_source.choice(workers).pid, token)
        time.sleep(random_source.choice(PAUSES_S))
    finished.append(n_sent)


def main(start_method, n_kills, seed):
    random_source, tally, killed = random.Random(seed), Tally(), []
    with get_context(start_method).Pool(3, maxtasksperchild=200) as pool:
        arguments = (pool, n_kills, seed, killed)
        killer = threading.Thread(target=kill_workers, args=arguments, daemon=True)
        killer.start()
        while killer.is_alive():
            one_round(pool, tally, random_source)
        works_after = pool.map(tasks.square, range(100), 1) == [n * n for n in range(100)]
        pool.close()
        pool.join()
    seen = {
        "outcomes": tally.outcomes,
        "n_tasks": tally.n_tasks,
        "kills": killed[0],
        "works_after": works_after,
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
