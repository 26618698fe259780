"""Processes use one shared object of each sort while random ones are killed; then it must be whole.

Run as ``kill_fuzz_program.py KIND N_KILLS SEED``; prints what it found as JSON. The parent plays
along after every kill, so a wait that a death has made endless hangs the program, and the test.
"""

import contextlib
import json
import os
import random
import signal
import sys
import threading
import warnings

from manyhands import multiprocessing
from manyhands.multiprocessing.synchronize import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
)

N_PROCESSES = 4
warnings.simplefilter("ignore")
words = multiprocessing.RawArray("q", 8)


def under_lock(lock, torn=5):
    """Two numbers are equal while nobody is inside; who comes after a dead one mends them."""
    with lock:
        if words[0] != words[1]:
            words[1] = words[0]
            words[torn] += 1
        words[0] += 1
        words[1] += 1


class OfLock:
    def __init__(self, make):
        self.lock = make()

    def step(self, is_parent):
        under_lock(self.lock)

    def check(self):
        assert words[0] == words[1]
        assert self.lock.acquire(False)


class OfSemaphore:
    """Permits that are given back by others: a victim may take one with it, or give one more."""

    def __init__(self):
        self.permits, self.done = Semaphore(8), 0

    def step(self, is_parent):
        if self.permits.acquire(timeout=0.02):
            self.permits.release()
        elif is_parent:
            # All were lost with their holders: those are replaced, as a program would.
            self.permits.release()

    def check(self):
        n = self.permits.get_value()
        assert 0 <= n <= 8 + N_PROCESSES, n
        for _ in range(n):
            assert self.permits.acquire(False)
        assert not self.permits.acquire(False)


class OfCondition:
    """Waiters are notified by whoever comes; everybody goes on whoever died."""

    def __init__(self):
        self.condition = Condition()

    def step(self, is_parent):
        with self.condition:
            words[0] += 1
            self.condition.notify(2)
            if not is_parent:
                self.condition.wait(0.05)

    def check(self):
        with self.condition:
            self.condition.notify_all()
        assert repr(self.condition) == "<Condition(<RLock(None, 0)>, 0)>"


class OfEvent:
    def __init__(self):
        self.event, self.other = Event(), Event()

    def step(self, is_parent):
        self.event.set()
        assert self.event.wait(60)
        self.other.wait(0.001)
        self.other.set()
        self.other.clear()

    def check(self):
        assert self.event.is_set()
        self.event.clear()
        assert not self.event.wait(0.01)


class OfBarrier:
    """A death breaks the barrier; the parent resets it."""

    def __init__(self):
        self.barrier = Barrier(N_PROCESSES)

    def step(self, is_parent):
        with contextlib.suppress(threading.BrokenBarrierError):
            if is_parent:
                if self.barrier.broken:
                    self.barrier.reset()
            else:
                self.barrier.wait()

    def check(self):
        self.barrier.reset()
        assert not self.barrier.broken and self.barrier.n_waiting == 0


def bounded():
    class Of(OfSemaphore):
        def __init__(self):
            self.permits = BoundedSemaphore(8)

        def step(self, is_parent):
            with contextlib.suppress(ValueError):
                super().step(is_parent)

    return Of()


KINDS = {
    "Lock": lambda: OfLock(Lock),
    "RLock": lambda: OfLock(RLock),
    "Semaphore": OfSemaphore,
    "BoundedSemaphore": bounded,
    "Condition": OfCondition,
    "Event": OfEvent,
    "Barrier": OfBarrier,
}


def main(kind, n_kills, seed):
    chance = random.Random(seed)
    subject = KINDS[kind]()
    steps = multiprocessing.RawArray("q", n_kills + 1 + N_PROCESSES)
    children = []

    def start():
        row = 1 + len(started)
        pid = os.fork()
        if not pid:
            while True:
                subject.step(False)
                steps[row] += 1
        started.append(pid)
        children.append(pid)

    def step_of_parent():
        subject.step(True)
        steps[0] += 1

    def by_children():
        return sum(steps[1:])

    def end(pid):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    started = []
    for _ in range(N_PROCESSES):
        start()
    for _ in range(n_kills):
        # Work goes on: those that are there make a few steps, all together.
        wanted = by_children() + chance.randrange(1, 40)
        while by_children() < wanted:
            step_of_parent()
        victim = children.pop(chance.randrange(N_PROCESSES))
        end(victim)
        start()
    for child in children:
        end(child)
    step_of_parent()
    subject.check()
    print(json.dumps({"steps": sum(steps), "by_children": by_children(), "torn": words[5]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
