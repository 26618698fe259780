"""Many threads at one queue: every item arrives once, and each putter's items in order.

A wake-up that is lost shows as a hang, which the watchdog ends.
"""

import collections
import itertools
import random
import sys
import threading

import pytest
from manyhands import queue as ours

N_PUTTERS = N_GETTERS = 32
N_ITEMS = 100


@pytest.fixture(params=["Queue", "LifoQueue", "PriorityQueue"])
def make(request):
    return getattr(ours, request.param)


@pytest.fixture(autouse=True)
def frequent_switches():
    """Threads take turns often, so that they meet everywhere."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def put_all(queue, putter):
    items = [(putter, number) for number in range(N_ITEMS)]
    if putter % 3 == 0:
        queue.put_many(items)
        return
    for item in items:
        while True:
            try:
                queue.put(item, timeout=None if putter % 3 == 1 else 0.0005)
            except ours.Full:
                continue
            break


def get_all(queue, way):
    taken = []
    while True:
        try:
            items = queue.get_many(3 if way % 3 == 0 else 1, None if way % 3 < 2 else 0.0005)
        except ours.Empty:
            continue
        except ours.ShutDown:
            return taken
        taken += items
        for _ in items:
            queue.task_done()


@pytest.mark.parametrize("maxsize", [0, 1, 10])
def test_sixty_four_threads_lose_and_double_nothing(make, maxsize, start):
    queue = make(maxsize)
    getters = [start(get_all, queue, way) for way in range(N_GETTERS)]
    putters = [start(put_all, queue, putter) for putter in range(N_PUTTERS)]
    for putter in putters:
        putter.result()
    queue.join()
    queue.shutdown()
    taken = [getter.result() for getter in getters]
    everything = sorted(itertools.chain.from_iterable(taken))
    assert everything == [(n, number) for n in range(N_PUTTERS) for number in range(N_ITEMS)]
    if make is ours.Queue:
        for items in taken:
            for putter in range(N_PUTTERS):
                numbers = [number for who, number in items if who == putter]
                assert numbers == sorted(numbers)


def is_explained(left, items, maxsize, take):
    """Whether the calls `left` can be ordered so that a plain list would answer the same."""
    if not left:
        return True
    first_end = min(ended for _, ended, _, _ in left)
    for at, (began, _, call, answer) in enumerate(left):
        if began > first_end:
            continue
        after = list(items)
        if call == "put":
            possible = (len(after) < maxsize) is (answer is not None)
            if answer is not None:
                after.append(answer)
        elif answer is None:
            possible = not after
        else:
            possible = bool(after) and take(after) == answer
        if possible and is_explained(left[:at] + left[at + 1 :], after, maxsize, take):
            return True
    return False


def smallest(items):
    return items.pop(items.index(min(items)))


TAKE = {"Queue": lambda items: items.pop(0), "LifoQueue": list.pop, "PriorityQueue": smallest}


def test_every_small_history_is_that_of_one_queue(make):
    take = TAKE[make.__name__]
    for seed in range(60):
        queue, clock, history = make(2), itertools.count(), collections.deque()
        barrier = threading.Barrier(3)
        choices = random.Random(seed)
        plans = [[(choices.random() < 0.5, 10 * n + k) for k in range(4)] for n in range(3)]

        def work(plan, queue=queue, clock=clock, history=history, barrier=barrier):
            barrier.wait(60)
            for is_put, item in plan:
                began = next(clock)
                try:
                    answer = item if is_put else queue.get_nowait()
                    if is_put:
                        queue.put_nowait(item)
                except (ours.Empty, ours.Full):
                    answer = None
                history.append((began, next(clock), "put" if is_put else "get", answer))

        threads = [threading.Thread(target=work, args=(plan,)) for plan in plans]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert is_explained(list(history), [], 2, take), list(history)


def test_a_shutdown_in_the_middle_divides_items_into_refused_and_delivered(make, start):
    for n_before in range(0, 60, 7):
        queue, n_put = make(3), itertools.count()

        def put_until_refused(queue=queue, n_put=n_put):
            try:
                while True:
                    queue.put(1)
                    next(n_put)
            except ours.ShutDown:
                pass

        putters = [start(put_until_refused) for _ in range(3)]
        getters = [start(lambda q=queue: len(list(q))) for _ in range(3)]
        while queue.statistics()["got"] < n_before:
            threading.Event().wait(0.0001)
        queue.shutdown()
        for putter in putters:
            putter.result()
        assert sum(getter.result() for getter in getters) == next(n_put)
