"""Ctrl-C ends every wait for what processes share: one press, one traceback, all stays whole."""

import signal

import pytest
from background import WHEN_ASLEEP

PROLOGUE = (
    WHEN_ASLEEP
    + """
import sys, threading, time
from manyhands.multiprocessing.synchronize import *

def ready():
    def tell():
        print("READY", flush=True)
        time.sleep(300)
    when_asleep(tell)

def held(lock):
    taken = threading.Event()
    def hold():
        lock.acquire()
        taken.set()
        time.sleep(300)
    threading.Thread(target=hold, daemon=True).start()
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

def interrupted(wait, *args):
    try:
        wait(*args)
    except KeyboardInterrupt:
        return True
"""
)

PLACES = {
    "Lock.acquire": "held(Lock()).acquire()",
    "Lock.acquire, timed": "held(Lock()).acquire(timeout=200)",
    "Lock, with": "with held(Lock()): pass",
    "RLock.acquire": "held(RLock()).acquire()",
    "RLock, with": "with held(RLock()): pass",
    "Semaphore.acquire": "held(Semaphore(1)).acquire()",
    "BoundedSemaphore, timed": "held(BoundedSemaphore(1)).acquire(timeout=200)",
    "Condition, with": "with held(Condition()): pass",
    "Condition.wait": "waits_in(Condition()).wait()",
    "Condition.wait, timed": "waits_in(Condition(Lock())).wait(200)",
    "Condition.wait_for": "waits_in(Condition()).wait_for(lambda: False)",
    "Event.wait": "comes_to(Event()).wait()",
    "Event.wait, timed": "comes_to(Event()).wait(200)",
    "Barrier.wait": "comes_to(Barrier(2)).wait()",
    "Barrier.wait, timed": "comes_to(Barrier(2)).wait(200)",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_one_ctrl_c_ends_the_wait_with_one_traceback(place, program):
    ended = program(PROLOGUE + place, interrupt=True)
    assert ended.status == -signal.SIGINT, ended.err
    assert ended.err.count("KeyboardInterrupt") == 1, ended.err
    assert ended.err.count("Traceback (most recent call last)") == 1, ended.err
    assert "Exception ignored" not in ended.err


WHAT_REMAINS = {
    "a permit is not lost": """
semaphore = Semaphore(0); ready()
assert interrupted(semaphore.acquire)
semaphore.release()
assert semaphore.acquire(False) and not semaphore.acquire(False)""",
    "a condition has its lock again and no waiter": """
condition = Condition(); condition.acquire(); condition.acquire(); ready()
assert interrupted(condition.wait)
assert repr(condition) == "<Condition(<RLock(MainProcess, 2)>, 0)>", condition
condition.release(); condition.release()""",
    "a barrier is broken for the others": """
barrier = Barrier(2); ready()
assert interrupted(barrier.wait)
assert barrier.broken""",
    "a lock that was waited for long can be had": """
lock = held(RLock())
assert interrupted(lock.acquire)
assert not lock.acquire(timeout=0.3)""",
}


@pytest.mark.parametrize("place", WHAT_REMAINS.values(), ids=WHAT_REMAINS.keys())
def test_who_was_interrupted_leaves_nothing_behind(place, program):
    ended = program(PROLOGUE + place + "\nprint('goes on')", interrupt=True)
    assert (ended.status, ended.err) == (0, "")
    assert "goes on" in ended.out
