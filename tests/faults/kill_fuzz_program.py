"""The kill-fuzz: random workers are killed under mixed load, and every task is counted.

Run as ``kill_fuzz_program.py START_METHOD PACE N_KILLS SEED`` inside a `family_watch.Family`. It
prints one JSON object with what it saw; the test judges it. A killed worker may cause
`WorkerCrashed` and nothing else: the rest is counted as wrong.
"""

import collections
import json
import multiprocessing
import os
import random
import sys
import threading
import time

import family_watch
import hostile_tasks as tasks
from manyhands import WorkerCrashed
from manyhands.futures import ProcessPoolExecutor

N_IN_FLIGHT = 40
N_WORKERS = 4

# Seconds between two kills. Hasty ones hit workers that are still starting as often as others,
# steady ones hit workers in the middle of a task.
PAUSES = {
    "hasty": (0, 0, 0.001, 0.003, 0.01),
    "steady": (0.005, 0.01, 0.02, 0.04),
    "slow": (0.1, 0.2, 0.3),
}


def busy(milliseconds):
    deadline = time.monotonic() + milliseconds / 1e3
    while time.monotonic() < deadline:
        pass
    return milliseconds


def reverse(payload):
    return payload[::-1]


def fail(text):
    raise ValueError(text)


class Counter:
    """What became of each task; `lock` because callbacks come from another thread."""

    def __init__(self):
        self.lock = threading.Lock()
        self.n_submitted = 0
        self.outcomes = collections.Counter()
        self.n_killed = 0
        self.n_callbacks = collections.Counter()
        self.room = threading.Semaphore(N_IN_FLIGHT)

    def submit(self, executor, task_idx, random_source):
        kind = random_source.randrange(6)
        if kind == 0:
            function, argument, expected = tasks.square, task_idx, task_idx * task_idx
        elif kind == 1:
            function, argument, expected = busy, 2, 2
        elif kind == 2:
            function, argument = reverse, random_source.randbytes(64 << 10)
            expected = argument[::-1]
        elif kind == 3:
            function, argument, expected = fail, f"task {task_idx}", ValueError(f"task {task_idx}")
        elif kind == 4:
            function, argument = tasks.make_bytes, 1 << 20
            expected = bytes(argument)
        else:
            function, argument, expected = time.sleep, 0.001, None
        self.room.acquire()
        self.n_submitted += 1
        future = executor.submit(function, argument)
        future.add_done_callback(lambda done: self.finish(task_idx, done, expected))
        return future

    def finish(self, task_idx, future, expected):
        error = future.exception()
        if isinstance(error, WorkerCrashed):
            outcome = "crashed"
        elif isinstance(expected, ValueError):
            right = isinstance(error, ValueError) and error.args == expected.args
            outcome = "raised" if right else f"wrong: {error!r}"
        elif error is not None:
            outcome = f"wrong: {error!r}"
        else:
            outcome = "result" if future.result() == expected else "wrong result"
        with self.lock:
            self.outcomes[outcome] += 1
            self.n_callbacks[task_idx] += 1
        self.room.release()


def kill_workers(executor, pauses, n_kills, seed, counter):
    """Kill random workers at random moments until `n_kills` signals were delivered, and one hit."""
    token = os.environ[family_watch.TOKEN_NAME]
    random_source = random.Random(seed)
    n_sent = 0
    while n_sent < n_kills or not counter.outcomes["crashed"]:
        workers = list(executor._processes or ())
        if workers:
            n_sent += family_watch.kill_member(random_source.choice(workers), token)
        time.sleep(random_source.choice(pauses))
    counter.n_killed = n_sent


def main(start_method, pace, n_kills, seed):
    random_source = random.Random(seed)
    context = None if start_method == "template" else multiprocessing.get_context(start_method)
    counter = Counter()
    with ProcessPoolExecutor(max_workers=N_WORKERS, mp_context=context) as executor:
        # A first task, so that there is somebody to kill.
        assert executor.submit(tasks.square, 3).result(60) == 9
        arguments = (executor, PAUSES[pace], n_kills, seed, counter)
        # A daemon, so that a pool without workers left to kill shows its error and not a hang.
        killer = threading.Thread(target=kill_workers, args=arguments, daemon=True)
        killer.start()
        futures = []
        while killer.is_alive():
            futures.append(counter.submit(executor, len(futures), random_source))
        killer.join()
        # The pool is as good as new: after the last kill, everything works again.
        family_watch.wait_until(lambda: all(f.done() for f in futures), "all tasks ended", 60)
        alive_after = list(executor.map(tasks.square, range(100), timeout=60))
        family_watch.wait_until(
            lambda: sum(counter.n_callbacks.values()) >= len(futures), "all callbacks ran"
        )
    print(
        json.dumps(
            {
                "kills": counter.n_killed,
                "submitted": counter.n_submitted,
                "outcomes": counter.outcomes,
                "ended_twice": [i for i, n in counter.n_callbacks.items() if n != 1],
                "never_ended": sum(not future.done() for future in futures),
                "works_after": alive_after == [n * n for n in range(100)],
            }
        )
    )


if __name__ == "__main__":
    # Guarded for the "spawn" start method, which imports the script again.
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
