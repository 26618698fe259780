"""How fast are the locks between processes?

Each beside the standard library's: free, passed between two processes, and the others alone.
"""

import multiprocessing as standard
import os

import _measure
from manyhands import multiprocessing as ours

CONTEXTS = {"ours": ours.get_context("fork"), "standard": standard.get_context("fork")}


def with_block(make):
    """Nanoseconds for one `with` block by the one process that uses it."""

    def measure(context, n_rounds):
        lock = make(context)

        def work():
            for _ in range(n_rounds):
                with lock:
                    pass

        return _measure.seconds(work) / n_rounds * 1e9

    return measure


def acquire_release(make):
    """Nanoseconds for `acquire` and `release`."""

    def measure(context, n_rounds):
        lock = make(context)
        acquire, release = lock.acquire, lock.release

        def work():
            for _ in range(n_rounds):
                acquire()
                release()

        return _measure.seconds(work) / n_rounds * 1e9

    return measure


def event(context, n_rounds):
    """Nanoseconds to set, wait for and clear an event."""
    flag = context.Event()

    def work():
        for _ in range(n_rounds):
            flag.set()
            flag.wait()
            flag.clear()

    return _measure.seconds(work) / n_rounds * 1e9


def forked(work):
    """Runs `work` in a forked process; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def contended(context, n_rounds):
    """Nanoseconds for one `with` block while another process does the same."""
    lock, go = context.Lock(), context.Barrier(2)

    def rounds():
        for _ in range(n_rounds):
            with lock:
                pass

    def other():
        go.wait()
        rounds()

    pid = forked(other)
    go.wait()
    took = _measure.seconds(rounds) / n_rounds * 1e9
    os.waitpid(pid, 0)
    return took


def ping_pong(context, n_rounds):
    """Nanoseconds for a permit to another process and one back."""
    there, back = context.Semaphore(0), context.Semaphore(0)

    def answer():
        for _ in range(n_rounds):
            there.acquire()
            back.release()

    pid = forked(answer)

    def work():
        for _ in range(n_rounds):
            there.release()
            back.acquire()

    took = _measure.seconds(work) / n_rounds * 1e9
    os.waitpid(pid, 0)
    return took


def notify_round(context, n_rounds):
    """Nanoseconds for a turn of two processes that notify each other."""
    condition, turn = context.Condition(), context.RawValue("i", 0)

    def play(mine):
        for _ in range(n_rounds):
            with condition:
                while turn.value != mine:
                    condition.wait()
                turn.value = 1 - mine
                condition.notify()

    pid = forked(lambda: play(1))
    took = _measure.seconds(lambda: play(0)) / n_rounds * 1e9
    os.waitpid(pid, 0)
    return took


def rows(quick):
    n_rounds, n_repeats = (2_000, 2) if quick else (100_000, 9)

    def row(name, measure, share=1, **target):
        n = max(200, n_rounds // share)
        lanes = {
            lane: lambda context=context: measure(context, n) for lane, context in CONTEXTS.items()
        }
        return _measure.Row(name, "ns", _measure.interleave(lanes, n_repeats), **target)

    yield row("with RLock", with_block(lambda context: context.RLock()))
    yield row("with Lock", with_block(lambda context: context.Lock()))
    yield row("RLock.acquire, release", acquire_release(lambda context: context.RLock()))
    yield row("Lock.acquire, release", acquire_release(lambda context: context.Lock()))
    yield row("Semaphore.acquire, release", acquire_release(lambda context: context.Semaphore()))
    yield row("Event.set, wait, clear", event, 10)
    yield row("with Lock, two processes", contended)
    yield row("Semaphore, there and back", ping_pong, 20)
    yield row("Condition, a turn of two processes", notify_round, 50)


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
