"""What do locks, events, conditions and barriers cost, and who gets a busy lock?

Each lane does the same work with the standard `threading` and with ours. The first rows are one
thread's: nobody else wants the lock. Then two threads hand something back and forth, which is
mostly the kernel's and the GIL's time, and eight threads hammer one lock.
"""

import threading as standard
import time

import _measure
from manyhands import threading as ours

MODULES = {"ours": ours, "standard": standard}


def loop(statement, setup, n):
    """A lane for each module: nanoseconds per turn of a loop over `statement`."""
    source = f"def work(n, t):\n    {setup}\n    turns = range(n)\n    for _ in turns:\n"
    source += "".join(f"        {line}\n" for line in statement.splitlines())
    namespace = {}
    exec(source, namespace)

    def lane(module):
        return lambda: _measure.seconds(lambda: namespace["work"](n, module)) / n * 1e9

    return {name: lane(module) for name, module in MODULES.items()}


ONE_THREAD = [
    ("Lock: with", "with x: pass", "x = t.Lock()", 1),
    ("Lock: acquire, release", "x.acquire(); x.release()", "x = t.Lock()", 1),
    ("RLock: with", "with x: pass", "x = t.RLock()", 1),
    ("RLock: acquire, release", "x.acquire(); x.release()", "x = t.RLock()", 1),
    ("Semaphore: with", "with x: pass", "x = t.Semaphore()", 5),
    ("BoundedSemaphore: with", "with x: pass", "x = t.BoundedSemaphore()", 5),
    ("Event: set, is_set, clear", "x.set(); x.is_set(); x.clear()", "x = t.Event()", 5),
    (
        "Condition: notify, wait(0), the lock held",
        "x.notify(); x.wait(0)",
        "x = t.Condition(); x.acquire()",
        5,
    ),
    ("Barrier(1): wait", "x.wait()", "x = t.Barrier(1)", 5),
]


def of_two(make, step, n):
    """Microseconds per round of two threads that do `step(shared, idx)` in turns."""

    def lane(module):
        def work():
            shared = make(module)
            other = standard.Thread(target=lambda: [step(shared, 1) for _ in range(n)])
            other.start()
            for _ in range(n):
                step(shared, 0)
            other.join()

        return lambda: _measure.seconds(work) / n * 1e6

    return {name: lane(module) for name, module in MODULES.items()}


class Turns:
    """Whose turn it is, of two threads."""

    def __init__(self, module):
        self.condition = module.Condition()
        self.turn = 0

    def step(self, me):
        with self.condition:
            while self.turn != me:
                self.condition.wait()
            self.turn = 1 - me
            self.condition.notify()


def hammer(module, n_threads, duration_s):
    """How often each of the threads got one lock."""
    lock, counts, stop = module.Lock(), [0] * n_threads, []

    def work(idx):
        while not stop:
            with lock:
                counts[idx] += 1

    threads = [standard.Thread(target=work, args=(idx,)) for idx in range(n_threads)]
    for thread in threads:
        thread.start()
    time.sleep(duration_s)
    stop.append(True)
    for thread in threads:
        thread.join()
    return counts


def contended(mode, n):
    """Microseconds per acquisition of two threads that fight for one lock of ours."""

    def measure():
        ours.set_deadlock_mode(mode)
        lock = ours.Lock()

        def work():
            for _ in range(n):
                with lock:
                    pass

        threads = [standard.Thread(target=work) for _ in range(2)]

        def both():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        return _measure.seconds(both) / n * 1e6

    return measure


def start_and_join(n):
    """Microseconds to start a thread that does nothing, and to join it."""

    def lane(module):
        def work():
            for _ in range(n):
                thread = module.Thread(target=int)
                thread.start()
                thread.join()

        return lambda: _measure.seconds(work) / n * 1e6

    return {name: lane(module) for name, module in MODULES.items()}


def rows(quick):
    n = 2_000 if quick else 200_000
    n_repeats = 2 if quick else 11
    for name, statement, setup, target in ONE_THREAD:
        values = _measure.interleave(loop(statement, setup, n), n_repeats)
        yield _measure.Row(name, "ns", values, kind="ratio", target=target)

    n_rounds = 200 if quick else 10_000
    turns = of_two(Turns, Turns.step, n_rounds)
    yield _measure.Row(
        "Condition: two threads take turns", "us/turn", _measure.interleave(turns, n_repeats)
    )
    barrier = of_two(lambda module: module.Barrier(2), lambda b, _: b.wait(), n_rounds)
    values = _measure.interleave(barrier, n_repeats)
    yield _measure.Row("Barrier(2): two threads meet", "us/round", values, kind="ratio", target=5)
    threads = start_and_join(50 if quick else 2_000)
    yield _measure.Row("Thread: start, join", "us", _measure.interleave(threads, n_repeats))

    duration_s = 0.2 if quick else 2.0
    counts = {name: [] for name in MODULES}
    for _ in range(1 if quick else 3):
        for name, module in MODULES.items():
            counts[name].append(hammer(module, 8, duration_s))
    per_second = {
        name: duration_s / _measure.statistics.median(map(sum, runs)) * 1e9
        for name, runs in counts.items()
    }
    fairness = {
        name: _measure.statistics.median(min(run) / max(run) for run in runs)
        for name, runs in counts.items()
    }
    note = ", ".join(f"{name}: slowest/fastest {fair:.2f}" for name, fair in fairness.items())
    yield _measure.Row(
        "8 threads, one Lock, 2 s", "ns/turn", per_second, kind="ratio", target=1, note=note
    )

    n_fights = 2_000 if quick else 200_000
    lanes = {"ours": contended("raise", n_fights), "detector off": contended("off", n_fights)}
    values = _measure.interleave(lanes, n_repeats)
    ours.set_deadlock_mode("raise")
    yield _measure.Row("2 threads, one Lock: deadlock detection", "us/turn", values)


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
