"""Ctrl-C, killed processes, exhausted memory, exits."""

import os
import signal

import pytest
from background import WHEN_ASLEEP
from manyhands import multiprocessing
from manyhands.multiprocessing.queues import JoinableQueue, Queue

PROLOGUE = (
    WHEN_ASLEEP
    + """
import sys, time, threading, os
from manyhands.multiprocessing.queues import *

def ready():
    def tell():
        print("READY", flush=True)
        time.sleep(300)
    when_asleep(tell)

def full():
    queue = JoinableQueue(1); queue.put(1)
    return queue
"""
)

PLACES = {
    "get": "q = Queue(); ready(); q.get()",
    "get, timed": "q = Queue(); ready(); q.get(timeout=200)",
    "get, simple": "q = SimpleQueue(); ready(); q.get()",
    "get_many": "q = Queue(); ready(); q.get_many(3)",
    "iteration": "q = Queue(); ready(); list(q)",
    "put": "q = full(); ready(); q.put(2)",
    "put, timed": "q = full(); ready(); q.put(2, timeout=200)",
    "put_many": "q = full(); ready(); q.put_many([2, 3])",
    "join": "q = full(); ready(); q.join()",
    "aget": "import asyncio; q = Queue(); ready(); asyncio.run(q.aget())",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_one_ctrl_c_ends_the_wait(place, program):
    ended = program(PROLOGUE + place, interrupt=True)
    assert ended.status == -signal.SIGINT, ended.err
    assert ended.err.count("KeyboardInterrupt") >= 1, ended.err
    assert "Exception ignored" not in ended.err


def test_a_getter_that_is_killed_asleep_takes_nothing_along(until):
    ctx = multiprocessing.get_context("fork")
    queue = Queue()
    sleepers = [ctx.Process(target=queue.get) for _ in range(5)]
    for process in sleepers:
        process.start()
    until(lambda: queue.statistics()["getters_waiting"] == 5)
    for process in sleepers:
        process.kill()
        process.join()
    queue.put_many(range(10))
    assert queue.get_many(10) == list(range(10))


def test_processes_killed_in_the_middle_of_everything_leave_the_queue_working():
    n_kills = int(os.environ.get("MANYHANDS_KILLS", "40"))
    ctx = multiprocessing.get_context("fork")
    queue, got = Queue(30), JoinableQueue()

    def work(who):
        number = 0
        while True:
            queue.put((who, number, b"x" * (number % 5_000)))
            number += 1
            got.put(queue.get()[:2])

    def take():
        return got.get_many(1_000, timeout=20)

    workers = [ctx.Process(target=work, args=(n,)) for n in range(3)]
    for process in workers:
        process.start()
    seen = []
    for n in range(n_kills):
        seen += take()
        victim = workers.pop(0)
        victim.kill()
        victim.join()
        workers.append(ctx.Process(target=work, args=(100 + n,)))
        workers[-1].start()
    seen += take()
    for process in workers:
        process.kill()
        process.join()
    while not got.empty():
        seen += take()
    assert len(seen) == len(set(seen)), "an item came twice"
    assert len(seen) > n_kills


def test_without_memory_a_put_raises_and_nothing_is_lost(program):
    ended = program(
        """
import os
os.environ["MANYHANDS_HEAP_LIMIT"] = str(8 << 20)
from manyhands.multiprocessing.queues import Queue
queue, n = Queue(), 0
try:
    while True:
        queue.put(str(n) * 10_000); n += 1
except MemoryError as error:
    assert "shared memory" in str(error), error
assert n > 10
for i in range(n):
    assert queue.get() == str(i) * 10_000
queue.put("there is room again")
assert queue.get() == "there is room again"
print("well")
"""
    )
    assert ended.out.strip() == "well", ended.err


def test_nothing_is_left_and_nothing_is_said_at_exit(program):
    ended = program(
        """
from manyhands import multiprocessing
def work(queue):
    queue.put_many(range(1000))
if __name__ == "__main__":
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=work, args=(queue,))
    process.start(); process.join()
    queue.put("never got")
"""
    )
    assert (ended.status, ended.out, ended.err) == (0, "", "")
