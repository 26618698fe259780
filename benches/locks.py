"""How fast are the primitives of threading?

Alone: one thread, nobody in its way; the cost of the loop around is part of every figure.  Between
two threads: both take turns, so that each figure holds two hand-overs of the interpreter.  Eight
threads at one lock for two seconds: how often they got it in all, and how evenly.
"""

import functools
import threading as standard
import time
import timeit

import _measure
from manyhands import threading as ours

# Statement after statement in one round of the loop: its cost counts for little.
N_UNROLLED = 10
# name, what is made, statement, target
ALONE = (
    ("Lock: with", "Lock()", "with it: pass", 1),
    ("Lock: acquire, release", "Lock()", "it.acquire(); it.release()", 1),
    ("RLock: with", "RLock()", "with it: pass", 1),
    ("RLock: acquire, release", "RLock()", "it.acquire(); it.release()", 1),
    ("Semaphore: with", "Semaphore(1)", "with it: pass", 5),
    ("BoundedSemaphore: with", "BoundedSemaphore(1)", "with it: pass", 5),
    (
        "Condition: notify + wait(0), lock held",
        "Condition()",
        "it.notify(); it.wait(0)",
        5,
    ),
    ("Event: set, is_set, clear", "Event()", "it.set(); it.is_set(); it.clear()", 5),
    ("Barrier(1): wait", "Barrier(1)", "it.wait()", 5),
)
N_HAMMERS = 8


def alone(module, make, statement, n_times):
    """Nanoseconds for one statement by a thread that nobody disturbs."""
    it = eval(f"module.{make}", {"module": module})
    if hasattr(it, "notify"):
        it.acquire()
    timer = timeit.Timer("\n".join([statement] * N_UNROLLED), globals={"it": it})
    return timer.timeit(n_times // N_UNROLLED) / n_times * 1e9


def ping_pong(module, n_rounds):
    """Microseconds for one round: notify the other thread, wait until it notifies back."""
    condition, turn = module.Condition(), [0]

    def play(mine, other):
        with condition:
            for _ in range(n_rounds):
                while turn[0] != mine:
                    condition.wait()
                turn[0] = other
                condition.notify()

    return two_threads(lambda: play(0, 1), lambda: play(1, 0)) / n_rounds * 1e6


def meetings(module, n_rounds):
    """Microseconds for one meeting of two threads at a barrier."""
    barrier = module.Barrier(2)

    def meet():
        for _ in range(n_rounds):
            barrier.wait()

    return two_threads(meet, meet) / n_rounds * 1e6


def signals(module, n_rounds):
    """Microseconds for one round: set the other's event, wait for one's own."""
    events = module.Event(), module.Event()

    def play(mine, other):
        for _ in range(n_rounds):
            mine.wait()
            mine.clear()
            other.set()

    events[0].set()
    return two_threads(lambda: play(*events), lambda: play(*events[::-1])) / n_rounds * 1e6


def two_threads(first, second):
    """How long it takes until both are done, in seconds."""

    def work():
        other = standard.Thread(target=second)
        other.start()
        first()
        other.join()

    return _measure.seconds(work)


def hammer(module, seconds):
    """How often each of eight threads got one lock, busy while it has it and while it has not."""
    lock, end, counts = module.Lock(), [], [0] * N_HAMMERS

    def work(idx):
        while not end:
            with lock:
                counts[idx] += 1

    threads = [standard.Thread(target=work, args=(idx,)) for idx in range(N_HAMMERS)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    end.append(True)
    for thread in threads:
        thread.join()
    return counts


def contended(mode, seconds):
    """Nanoseconds per acquisition of a hammered lock, with or without looking for deadlocks."""
    before = ours.deadlock_mode()
    ours.set_deadlock_mode(mode)
    try:
        return seconds / sum(hammer(ours, seconds)) * 1e9
    finally:
        ours.set_deadlock_mode(before)


def rows(quick):
    n_times, n_repeats = (2_000, 2) if quick else (200_000, 11)
    for name, make, statement, target in ALONE:
        lanes = {
            lane: functools.partial(alone, module, make, statement, n_times)
            for lane, module in (("ours", ours), ("standard", standard))
        }
        values = _measure.interleave(lanes, n_repeats)
        yield _measure.Row(name, "ns", values, kind="ratio", target=target)
    n_rounds = 200 if quick else 5_000
    for name, measure in (
        ("Condition: two threads notify each other", ping_pong),
        ("Event: two threads signal each other", signals),
        ("Barrier(2): two threads meet", meetings),
    ):
        lanes = {
            "ours": functools.partial(measure, ours, n_rounds),
            "standard": functools.partial(measure, standard, n_rounds),
        }
        yield _measure.Row(name, "us", _measure.interleave(lanes, n_repeats))
    yield from hammered(quick)


def hammered(quick):
    """Rows of eight threads at one lock."""
    seconds, n_repeats = (0.1, 1) if quick else (2.0, 3)
    counts = {"ours": [], "standard": []}

    def per_acquisition(lane, module):
        counts[lane].append(hammer(module, seconds))
        return seconds / sum(counts[lane][-1]) * 1e9

    values = _measure.interleave(
        {
            "ours": lambda: per_acquisition("ours", ours),
            "standard": lambda: per_acquisition("standard", standard),
        },
        n_repeats,
    )
    yield _measure.Row(
        "Lock: 8 threads hammer it, per acquisition", "ns", values, kind="ratio", target=1
    )
    unevenness = {
        lane: max(max(count) / max(min(count), 1) for count in measured)
        for lane, measured in counts.items()
    }
    note = "the worst of the runs"
    name = "Lock: 8 threads hammer it, fastest / slowest"
    yield _measure.Row(name, "times", unevenness, kind="at most", target=4, note=note)
    values = _measure.interleave(
        {
            "ours": lambda: contended("raise", seconds / 2),
            "off": lambda: contended("off", seconds / 2),
        },
        2 * n_repeats - 1,
    )
    name = "Lock: hammered, looking for deadlocks and not"
    yield _measure.Row(name, "ns", values, ("off",), "ratio", 0.95)


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
