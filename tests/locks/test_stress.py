"""Sixty-four threads at once: one inside at a time, no permit lost or made, nobody forgotten.

Python's switch interval is a few microseconds here, so threads meet in the middle of everything.
"""

import random
import sys
import threading
import time
from collections import Counter, deque

import pytest

N_THREADS = 64


@pytest.fixture(autouse=True)
def threads_switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def results_of(start, work, n_threads=N_THREADS):
    """What `work(idx)` returns in each of many threads, which begin together."""
    begin = threading.Barrier(n_threads)

    def body(idx):
        begin.wait()
        return work(idx)

    return [each.result() for each in [start(body, idx) for idx in range(n_threads)]]


def taken(lock, dice):
    """Takes a lock in one of the ways there are; false if that way gave up."""
    way = dice.randrange(5)
    if way == 0:
        return lock.acquire(False)
    if way == 1:
        return lock.acquire(timeout=dice.random() / 1000)
    if way == 2:
        return lock.acquire(timeout=60)
    if way == 3:
        return lock.acquire()
    return lock.__enter__()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_one_thread_is_inside_at_a_time(ours, kind, start):
    lock = getattr(ours, kind)()
    inside, total = [], [0]

    def work(idx):
        dice, n_taken = random.Random(idx), 0
        for _ in range(1000):
            if not taken(lock, dice):
                continue
            inside.append(idx)
            assert inside == [idx]
            seen = total[0]
            if dice.random() < 0.05:
                time.sleep(0)
            total[0] = seen + 1
            n_taken += 1
            inside.remove(idx)
            lock.release()
        return n_taken

    def have_met():
        return kind == "Condition" or lock.statistics()["contended"] > N_THREADS

    n_taken = n_rounds = 0
    while not n_rounds or not have_met():
        n_rounds += 1
        n_taken += sum(results_of(start, work))
        assert total == [n_taken]
        assert n_taken >= n_rounds * N_THREADS * 100, "the ways that wait always succeed"
    assert lock.acquire(False)


def test_no_permit_is_lost_or_made(ours, start):
    n_permits = 5
    permits = ours.BoundedSemaphore(n_permits)
    inside, most = Counter(), [0]

    def work(idx):
        dice = random.Random(idx)
        for _ in range(1500):
            if taken(permits, dice):
                inside[idx] += 1
                n_inside = len([who for who, n in list(inside.items()) if n])
                assert n_inside <= n_permits, "more inside than permits"
                most[0] = max(most[0], n_inside)
                inside[idx] -= 1
                permits.release()

    while most[0] < 2:  # Until two were inside at a time.
        results_of(start, work)
    assert [permits.acquire(False) for _ in range(n_permits + 1)] == [True] * n_permits + [False]


def test_permits_handed_out_by_others_are_all_taken(ours, start):
    permits, n_each = ours.Semaphore(0), 4000

    def work(idx):
        for n in range(n_each):
            if idx % 2:
                permits.acquire()
            elif n % 2:
                permits.release(2)

    results_of(start, work)
    assert permits.acquire(False) is False


@pytest.mark.parametrize("lock", ["Lock", "RLock"])
def test_what_is_put_on_a_shelf_is_taken_once(ours, lock, start):
    shelf, n_each, capacity = deque(), 1000, 3
    changed = ours.Condition(getattr(ours, lock)())

    def work(idx):
        mine = []
        for n in range(n_each):
            with changed:
                if idx % 2:
                    changed.wait_for(lambda: shelf)
                    mine.append(shelf.popleft())
                else:
                    changed.wait_for(lambda: len(shelf) < capacity)
                    shelf.append((idx, n))
                changed.notify_all()
        return mine

    bought = [item for mine in results_of(start, work, 16) for item in mine]
    assert sorted(bought) == sorted((idx, n) for idx in range(0, 16, 2) for n in range(n_each))


def test_a_notification_wakes_one_of_many_and_none_is_lost(ours, start):
    condition, tokens, n_each = ours.Condition(), [0], 3000

    def work(idx):
        for _ in range(n_each):
            with condition:
                if idx % 2:
                    while not tokens[0]:
                        condition.wait()
                    tokens[0] -= 1
                else:
                    tokens[0] += 1
                    condition.notify()

    results_of(start, work)
    assert tokens == [0]


def test_a_notification_is_not_lost_in_a_wait_that_gives_up(ours, start):
    condition, tokens, n_tokens = ours.Condition(), [0], 30000
    done = []

    def work(idx):
        dice, n_taken = random.Random(idx), 0
        if idx == 0:
            for _ in range(n_tokens):
                with condition:
                    tokens[0] += 1
                    condition.notify()
            return 0
        while len(done) < n_tokens:
            with condition:
                # The impatient ones race with the patient one for each notification.
                if not tokens[0]:
                    condition.wait(0.05 if idx == 1 else dice.random() / 2000)
                if tokens[0]:
                    tokens[0] -= 1
                    done.append(idx)
                    n_taken += 1
        return n_taken

    assert sum(results_of(start, work, 16)) == n_tokens


def test_an_event_wakes_everybody_round_after_round(ours, start):
    events = [ours.Event() for _ in range(640)]

    def work(idx):
        for n, event in enumerate(events):
            if n % N_THREADS == idx:
                event.set()
            assert event.wait() is True

    results_of(start, work)


def test_a_barrier_holds_everybody_together(ours, start):
    barrier, n_rounds, arrived = ours.Barrier(N_THREADS), 20, [0] * N_THREADS

    def work(idx):
        places = []
        for n in range(n_rounds):
            arrived[idx] = n + 1
            places.append(barrier.wait())
            assert min(arrived) >= n + 1
            barrier.wait()
        return places

    for places in zip(*results_of(start, work), strict=True):
        assert sorted(places) == list(range(N_THREADS))


def test_readers_and_writers_keep_each_other_out(ours, start):
    lock, readers, writers = ours.RwLock(), Counter(), Counter()

    def work(idx):
        dice = random.Random(idx)
        for _ in range(150):
            if dice.random() < 0.3:
                if not lock.acquire_write(timeout=dice.choice([60, 0.001])):
                    continue
                writers[idx] += 1
                assert +writers == {idx: 1}
                assert not +readers
                writers[idx] -= 1
                lock.release_write()
            else:
                with lock.read():
                    readers[idx] += 1
                    assert not +writers
                    readers[idx] -= 1

    results_of(start, work)
    assert not lock.locked()
    assert lock.acquire_write(False)


def test_a_reentrant_lock_is_free_when_all_have_left(ours, start):
    lock, depths = ours.RLock(), [0]

    def work(idx):
        dice = random.Random(idx)

        def enter(depth):
            with lock:
                depths[0] += 1
                assert depths[0] == depth
                if depth < dice.randint(1, 6):
                    enter(depth + 1)
                depths[0] -= 1

        for _ in range(150):
            enter(1)

    results_of(start, work)
    assert depths == [0]
    assert not lock.locked()


def test_locks_come_and_go_while_others_wait_for_them(ours, start):
    def work(idx):
        dice = random.Random(idx)
        for _ in range(20):
            lock = ours.Lock()
            lock.acquire()
            waiting = start(lock.acquire)
            if dice.random() < 0.5:
                time.sleep(0)
            lock.release()
            assert waiting.result() is True

    results_of(start, work, 8)
