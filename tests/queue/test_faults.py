"""Ctrl-C, signals, destructors, forks, the end of the interpreter, waits that nobody ends."""

import gc
import os
import signal
import threading

import pytest
from manyhands import queue as ours
from manyhands.threading import DeadlockError

PROLOGUE = """
import sys, time, threading, signal, os
from manyhands.queue import *

def ready():
    # Told from another thread, when the main thread is (almost surely) where it will be hit.
    def tell():
        time.sleep(0.2)
        print("READY", flush=True)
        time.sleep(300)
    threading.Thread(target=tell, daemon=True).start()

def full(make=Queue):
    queue = make(1); queue.put(1)
    return queue
"""

PLACES = {
    "get": "ready(); Queue().get()",
    "get, timed": "ready(); Queue().get(timeout=200)",
    "get, exposed": "q = Queue(); q.mutex; ready(); q.get()",
    "get_many": "ready(); LifoQueue().get_many(3)",
    "iteration": "ready(); list(Queue())",
    "get by priority": "ready(); PriorityQueue().get()",
    "put": "ready(); full().put(2)",
    "put, timed": "ready(); full(LifoQueue).put(2, timeout=200)",
    "put by priority": "ready(); full(PriorityQueue).put(2)",
    "put_many": "ready(); full().put_many([2, 3])",
    "join": "ready(); full().join()",
    "join, exposed": "q = full(); q.mutex; ready(); q.join()",
    "aget": "import asyncio; ready(); asyncio.run(Queue().aget())",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_one_ctrl_c_ends_the_wait(place, program):
    ended = program(PROLOGUE + place, interrupt=True)
    assert ended.status == -signal.SIGINT, ended.err
    assert ended.err.count("KeyboardInterrupt") >= 1, ended.err
    assert "Exception ignored" not in ended.err


def test_a_queue_goes_on_after_a_wait_that_ctrl_c_ended(program):
    ended = program(
        PROLOGUE
        + """
q = Queue()
ready()
try:
    q.get()
except KeyboardInterrupt:
    print("interrupted")
q.put("rice")
print(q.get(), q.statistics()["getters_waiting"])
""",
        interrupt=True,
    )
    assert (ended.status, ended.out) == (0, "interrupted\nrice 0\n"), ended.err


def test_a_signal_handler_may_use_the_queue_that_it_interrupts(start):
    queue = ours.Queue(1000)
    n_calls = 0

    def handle(*_):
        nonlocal n_calls
        n_calls += 1
        queue.put(("from the handler", n_calls))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        while n_calls < 50:
            queue.put("from the program")
            queue.get()
            queue.get_many(5)  # The handler may be all who fills it.
            queue.put_many(["a", "b"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert queue.statistics()["put"] - queue.statistics()["got"] == queue.qsize()


def test_a_handler_may_end_the_wait_of_the_thread_it_runs_in():
    queue = ours.Queue()
    before = signal.signal(signal.SIGALRM, lambda *_: queue.put("from the handler"))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        assert queue.get() == "from the handler"
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("make", [ours.Queue, ours.LifoQueue])
def test_destructors_may_use_the_queue_at_any_time(make):
    queue = make()

    class Falling:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            queue.put("from a destructor")
            queue.qsize()

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(2000):
            Falling()
            queue.put([Falling()])
            queue.get()
    finally:
        gc.set_threshold(*threshold)
    while not queue.empty():
        queue.get_many(1000)
        gc.collect()
    assert queue.statistics()["put"] == 2000 + 4000


def test_an_item_whose_destructor_uses_the_queue_may_be_discarded():
    queue = ours.Queue()

    class Last:
        def __del__(self):
            queue.qsize()
            with pytest.raises(ours.ShutDown):
                queue.put(1)

    queue.put(Last())
    queue.shutdown(immediate=True)
    assert queue.empty()


def test_a_blocked_thread_and_its_items_survive_a_collection(start, until):
    queue, full = ours.Queue(), ours.Queue(1)
    full.put([])
    item = [[]]
    item[0].append(item)
    getter, putter = start(queue.get), start(full.put, item)
    until(lambda: queue.statistics()["getters_waiting"] == 1)
    until(lambda: full.statistics()["putters_waiting"] == 1)
    for _ in range(10):
        gc.collect()
    queue.put(item)
    assert getter.result() is item
    full.get()
    putter.result()
    assert full.get() is item


def test_items_on_their_way_survive_collections(start):
    queue = ours.Queue(3)
    stop = threading.Event()

    def collect():
        while not stop.is_set():
            gc.collect()

    class Item:
        def __init__(self):
            self.itself = self

        def __del__(self):
            self.itself = None

    collector = start(collect)
    getters = [start(lambda: all(item.itself is item for item in queue)) for _ in range(3)]
    for _ in range(300):
        queue.put(Item())
    queue.shutdown()
    assert all(getter.result() for getter in getters)
    stop.set()
    collector.result()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("make", [ours.Queue, ours.LifoQueue, ours.PriorityQueue])
def test_a_child_of_a_fork_can_use_queues_that_threads_waited_for(make, start, until):
    queue = make(1)
    getters = [start(queue.get) for _ in range(3)]
    until(lambda: queue.statistics()["getters_waiting"] == 3)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            thread = threading.Thread(target=queue.put_many, args=(range(5),), daemon=True)
            thread.start()
            if [queue.get(timeout=30) for _ in range(5)] == list(range(5)):
                queue.shutdown()
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    queue.put_many(range(3))
    assert sorted(getter.result() for getter in getters) == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_of_a_fork_can_use_a_heap_in_which_a_thread_was(start):
    entered, go_on = threading.Event(), threading.Event()

    class Slow:
        def __init__(self, rank):
            self.rank = rank

        def __lt__(self, other):
            entered.set()
            go_on.wait(60)
            return self.rank < other.rank

    queue = ours.PriorityQueue()
    queue.put(Slow(1))
    putter = start(queue.put, Slow(0))
    assert entered.wait(60)
    pid = os.fork()
    if pid == 0:
        go_on.set()
        queue.get(timeout=30)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    go_on.set()
    putter.result()
    assert queue.qsize() == 2


def test_the_interpreter_ends_while_daemon_threads_are_in_every_wait(program):
    ended = program(
        PROLOGUE
        + """
q, f, p = Queue(), full(), PriorityQueue()
def again(call, *args):
    while True:
        try:
            call(*args)
        except (Empty, Full):
            pass
class Item:
    def __lt__(self, other):
        return sum(range(100)) > id(self)
calls = [(q.get,), (q.get, True, 0.0005), (f.put, 1), (f.put, 1, True, 0.0005), (f.join,),
         (p.get,), (p.get, True, 0.0005), (q.get_many, 2), (f.put_many, [1, 2])]
for call, *args in calls:
    threading.Thread(target=again, args=(call, *args), daemon=True).start()
def feed():
    while True:
        p.put(Item())
threading.Thread(target=feed, daemon=True).start()
time.sleep(0.2)
"""
    )
    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize("make", [ours.Queue, ours.LifoQueue, ours.PriorityQueue])
def test_a_consumer_whose_producer_has_gone_is_told(make, program):
    ended = program(
        PROLOGUE
        + f"""
from manyhands.threading import DeadlockError
orders = {make.__name__}(name="orders")
producer = threading.Thread(target=orders.put, args=(1,))
producer.start(); producer.join()
print(orders.get())
try:
    orders.get()
except DeadlockError as error:
    print(error)
"""
    )
    assert ended.status == 0, ended.err
    assert ended.out.startswith("1\ndeadlock: a thread waits, and nobody is left to wake it.")
    assert f"{make.__name__} 'orders'" in ended.out or f'{make.__name__} "orders"' in ended.out


def test_a_wait_that_a_thread_may_still_end_is_no_deadlock(start):
    queue, seen = ours.Queue(), threading.Event()

    def put_late():
        seen.wait(0.5)
        queue.put("late")

    putter = start(put_late)
    try:
        assert queue.get() == "late"
    except DeadlockError as error:
        pytest.fail(str(error))
    putter.result()
