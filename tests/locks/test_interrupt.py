"""Ctrl-C ends every wait: one press, one traceback, and the status that Python programs give."""

import signal

import pytest

PROLOGUE = """
import sys, time
import threading as standard
from manyhands import threading
from manyhands.threading import *

def ready():
    # Told from another thread, when the main thread is (almost surely) where it will be hit.
    def tell():
        time.sleep(0.2)
        print("READY", flush=True)
        time.sleep(300)
    standard.Thread(target=tell, daemon=True).start()

def held(lock):
    # By a thread that might give it back one day: the wait for it is no deadlock.
    taken = standard.Event()
    def hold():
        getattr(lock, "acquire", getattr(lock, "acquire_write", None))()
        taken.set()
        time.sleep(300)
    standard.Thread(target=hold, daemon=True).start()
    taken.wait()
    ready()
    return lock

def waits_in(condition):
    condition.acquire()
    ready()
    return condition

def comes_to(barrier):
    ready()
    return barrier

def unset(event):
    ready()
    return event
"""

PLACES = {
    "Lock.acquire": "held(Lock()).acquire()",
    "Lock.acquire, timed": "held(Lock()).acquire(timeout=200)",
    "Lock, with": "with held(Lock()): pass",
    "RLock.acquire": "held(RLock()).acquire()",
    "RLock.acquire, timed": "held(RLock()).acquire(True, 200)",
    "RLock, with": "with held(RLock()): pass",
    "Semaphore.acquire": "held(Semaphore(1)).acquire()",
    "Semaphore.acquire, timed": "held(Semaphore(1)).acquire(timeout=200)",
    "Semaphore, with": "with held(Semaphore(1)): pass",
    "BoundedSemaphore, with": "with held(BoundedSemaphore(1)): pass",
    "Condition.acquire": "held(Condition()).acquire()",
    "Condition.wait": "waits_in(Condition()).wait()",
    "Condition.wait, timed": "waits_in(Condition()).wait(200)",
    "Condition.wait, plain lock": "waits_in(Condition(Lock())).wait()",
    "Condition.wait_for": "waits_in(Condition()).wait_for(lambda: False)",
    "Event.wait": "unset(Event()).wait()",
    "Event.wait, timed": "unset(Event()).wait(200)",
    "Barrier.wait": "comes_to(Barrier(2)).wait()",
    "Barrier.wait, timed": "comes_to(Barrier(2)).wait(200)",
    "RwLock.read": "with held(RwLock()).read(): pass",
    "RwLock.write": "with held(RwLock()).write(): pass",
    "RwLock.acquire_read, timed": "held(RwLock()).acquire_read(timeout=200)",
    "RwLock.acquire_write": "held(RwLock()).acquire_write()",
    "Thread.join": """
thread = Thread(target=time.sleep, args=(300,), daemon=True); thread.start()
ready(); thread.join()""",
    "Thread.join, timed": """
thread = Thread(target=time.sleep, args=(300,), daemon=True); thread.start()
ready(); thread.join(200)""",
    "sleeping thread, Lock": """
lock = Lock(); lock.acquire()
Thread(target=lock.acquire, daemon=True).start()
ready(); lock.acquire(timeout=250)""",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_one_ctrl_c_ends_the_wait_with_one_traceback(place, program):
    ended = program(PROLOGUE + place, interrupt=True)
    assert ended.status == -signal.SIGINT, ended.err
    assert ended.err.count("KeyboardInterrupt") == 1, ended.err
    assert ended.err.count("Traceback (most recent call last)") == 1, ended.err
    assert "Exception ignored" not in ended.err


CAUGHT = """
def interrupted(wait):
    try:
        wait()
    except KeyboardInterrupt:
        return True

{place}
print("goes on", flush=True)
"""
WHAT_REMAINS = {
    "a lock is not held by who did not get it": """
lock = Lock(); go = standard.Event()
standard.Thread(target=lambda: (lock.acquire(), ready(), go.wait(60), lock.release())).start()
while not lock.locked(): pass
assert interrupted(lock.acquire)
go.set()
assert lock.acquire(timeout=60)
lock.release()
assert not lock.locked()""",
    "a permit is not lost": """
semaphore = Semaphore(0); ready()
assert interrupted(semaphore.acquire)
semaphore.release()
assert semaphore.acquire(False) and not semaphore.acquire(False)""",
    "a condition holds its lock again and has no waiter": """
condition = Condition(); condition.acquire(); ready()
assert interrupted(condition.wait)
assert condition.acquire(False)
condition.release()
condition.notify()
condition.release()
try: condition.release()
except RuntimeError: pass
else: raise AssertionError("released once too often")
with condition: assert not condition.wait(0.01)""",
    "a barrier is broken for the others": """
barrier = Barrier(2); ready()
assert interrupted(barrier.wait)
assert barrier.n_waiting == 0""",
    "a writer that gave up lets readers in": """
lock = RwLock(); lock.acquire_read(); ready()
assert interrupted(lock.acquire_write)
assert lock.acquire_read(timeout=60)
lock.release_read(); lock.release_read()
assert lock.acquire_write(False)""",
}


@pytest.mark.parametrize("place", WHAT_REMAINS.values(), ids=WHAT_REMAINS.keys())
def test_after_a_caught_ctrl_c(place, program):
    ended = program(PROLOGUE + CAUGHT.format(place=place), interrupt=True)
    assert (ended.status, ended.out) == (0, "goes on\n"), ended.err


HANDLER = """
import os, signal
seen = []
signal.signal(signal.SIGUSR1, lambda *_: (seen.append(1), {act}))
def send():
    for _ in range(5):
        time.sleep(0.03)
        os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(300)
{place}
assert seen
print("goes on", flush=True)
"""


@pytest.mark.parametrize(
    ("act", "place"),
    [
        (
            "lock.locked() and lock.release()",
            "lock = Lock(); lock.acquire(); START; lock.acquire()",
        ),
        ("event.set()", "event = Event(); START; event.wait()"),
        ("semaphore.release()", "semaphore = Semaphore(0); START; semaphore.acquire()"),
        (
            "rlock.acquire() and rlock.release()",
            "rlock = RLock(); START; rlock.acquire();"
            " [time.sleep(0.01) for _ in range(50) if not seen]",
        ),
    ],
    ids=["Lock", "Event", "Semaphore", "RLock"],
)
def test_a_signal_handler_may_end_the_wait_it_interrupts(act, place, program):
    place = place.replace("START", "standard.Thread(target=send, daemon=True).start()")
    ended = program(PROLOGUE + HANDLER.format(act=act, place=place))
    assert (ended.status, ended.out) == (0, "goes on\n"), ended.err


def test_a_handler_that_does_nothing_leaves_the_wait_alone(program):
    place = """
lock = Lock(); lock.acquire()
def free():
    while len(seen) < 5: time.sleep(0.01)
    lock.release()
standard.Thread(target=send, daemon=True).start()
standard.Thread(target=free, daemon=True).start()
assert lock.acquire() is True
assert len(seen) == 5
"""
    ended = program(PROLOGUE + HANDLER.format(act="None", place=place))
    assert (ended.status, ended.out) == (0, "goes on\n"), ended.err


def test_signals_do_not_make_a_timed_wait_shorter_or_longer_than_it_was_asked_to_be(program):
    place = """
standard.Thread(target=send, daemon=True).start()
started = time.monotonic()
assert Event().wait(0.3) is False
assert time.monotonic() - started >= 0.299
"""
    ended = program(PROLOGUE + HANDLER.format(act="None", place=place))
    assert (ended.status, ended.out) == (0, "goes on\n"), ended.err
