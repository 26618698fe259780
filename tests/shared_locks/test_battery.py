"""What locks and their kin do for processes and threads: the standard module's, and ours."""

import contextlib
import pickle
import threading

import lock_roles
import pytest


def test_a_lock_is_held_by_one(mp):
    lock = mp.Lock()
    assert lock.acquire() is True
    assert lock.acquire(False) is False
    assert lock.acquire(True, 0.01) is False
    assert lock.acquire(timeout=-1) is False
    assert lock.release() is None
    with pytest.raises(ValueError, match="released too many times"):
        lock.release()


def test_any_thread_releases_a_lock(mp, start):
    lock = mp.Lock()
    lock.acquire()
    start(lock.release).result()
    assert lock.acquire(False)
    lock.release()


def test_only_its_owner_releases_a_reentrant_lock(mp, start):
    lock = mp.RLock()
    assert all(lock.acquire() for _ in range(3))
    assert isinstance(start(lock.release).error(), AssertionError)
    assert start(lock.acquire, False).result() is False
    for _ in range(3):
        lock.release()
    with pytest.raises(AssertionError):
        lock.release()


def test_a_lock_says_who_has_it(mp, fork):
    lock, seen = mp.Lock(), []
    assert repr(lock) == "<Lock(owner=None)>"
    with lock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
        thread = threading.Thread(target=lambda: seen.append(repr(lock)))
        thread.start()
        thread.join()
    assert seen == ["<Lock(owner=SomeOtherThread)>"]
    taken, go = mp.Event(), mp.Event()
    fork(lock_roles.acquire_and_tell, lock, taken, go)
    taken.wait()
    assert repr(lock) == "<Lock(owner=SomeOtherProcess)>"
    go.set()


def test_a_reentrant_lock_says_who_has_it_and_how_often(mp, start):
    lock = mp.RLock()
    assert repr(lock) == "<RLock(None, 0)>"
    with lock, lock:
        assert repr(lock) == "<RLock(MainProcess, 2)>"
        assert start(repr, lock).result() in (
            "<RLock(SomeOtherThread, nonzero)>",
            "<RLock(SomeOtherThread, 2)>",
        )
    thread = threading.Thread(target=lock.acquire, name="other")
    thread.start()
    thread.join()
    assert repr(lock).startswith("<RLock(SomeOther")


def test_a_semaphore_has_so_many_permits(mp):
    semaphore = mp.Semaphore(2)
    assert repr(semaphore) == "<Semaphore(value=2)>"
    assert semaphore.acquire() and semaphore.acquire(True, 5)
    assert semaphore.get_value() == 0
    assert not semaphore.acquire(False)
    assert not semaphore.acquire(timeout=0.01)
    for _ in range(3):
        semaphore.release()
    assert semaphore.get_value() == 3


def test_a_bounded_semaphore_refuses_one_release_too_many(mp):
    semaphore = mp.BoundedSemaphore(1)
    with semaphore:
        assert repr(semaphore) == "<BoundedSemaphore(value=0, maxvalue=1)>"
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()


def test_an_event_wakes_all_who_wait(mp, fork, start):
    event, ready = mp.Event(), mp.Semaphore(0)
    assert not event.is_set() and not event.wait(0.01)

    def wait():
        ready.release()
        assert event.wait()

    children = [fork(wait) for _ in range(3)]
    waiting = [start(event.wait) for _ in range(3)]
    for _ in range(3):
        ready.acquire()
    event.set()
    assert all(each.result() for each in waiting)
    # Who comes late must still find it set.
    assert [fork.reap(child) for child in children] == [0, 0, 0]
    assert event.wait() and event.is_set()
    event.clear()
    assert not event.is_set()


def test_so_many_are_notified_as_was_asked_for(mp, fork, start, until):
    condition, sleeping, woken = mp.Condition(), mp.Semaphore(0), mp.Semaphore(0)
    # First the forks: the standard lock does not survive that a thread has it meanwhile.
    for _ in range(3):
        fork(lock_roles.wait_in, condition, sleeping, woken)
    for _ in range(3):
        start(lock_roles.wait_in, condition, sleeping, woken)
    for _ in range(6):
        sleeping.acquire()
    with condition:
        condition.notify(n=2)
    until(lambda: woken.get_value() == 2)
    assert not condition_is_left(woken, 3)
    with condition:
        condition.notify(n=3)
    until(lambda: woken.get_value() == 5)
    with condition:
        condition.notify_all()
        condition.notify(n=3)
    until(lambda: woken.get_value() == 6)


def condition_is_left(woken, n):
    """Whether somebody more leaves within a while."""
    return any(woken.get_value() >= n for _ in range(20_000))


def test_a_condition_wants_its_lock_held(mp):
    condition = mp.Condition()
    for call in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(AssertionError):
            call()


def test_a_condition_gives_a_reentrant_lock_back_wholly(context, start):
    condition = context.Condition()

    def notify():
        with condition:
            condition.notify()

    with condition, condition:
        start(notify)
        assert condition.wait(60)
        assert repr(condition) == "<Condition(<RLock(MainProcess, 2)>, 0)>"
        assert not condition.wait(0.01)
        assert condition.wait_for(lambda: 7) == 7
        assert condition.wait_for(lambda: 0, timeout=0.01) == 0


def test_a_barrier_gives_each_another_number(mp, fork):
    barrier = mp.Barrier(3)
    indices = mp.Array("i", 20)
    for _ in range(2):
        fork(lock_roles.pass_barrier, barrier, 20, indices)
    lock_roles.pass_barrier(barrier, 20, indices)
    assert not barrier.broken and barrier.parties == 3


def test_the_last_one_at_a_barrier_runs_the_action(mp, start):
    ran = []
    barrier = mp.Barrier(2, action=lambda: ran.append(1))
    other = start(barrier.wait)
    assert sorted([barrier.wait(), other.result()]) == [0, 1]
    assert ran == [1]


def test_a_barrier_breaks_when_one_gives_up(mp, start):
    barrier = mp.Barrier(3, timeout=60)
    other = start(barrier.wait)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.05)
    assert isinstance(other.error(), threading.BrokenBarrierError)
    assert barrier.broken
    barrier.reset()
    assert not barrier.broken and barrier.n_waiting == 0


def test_a_failing_action_breaks_the_barrier(mp):
    barrier = mp.Barrier(1, action=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert barrier.broken


def test_who_waits_when_a_barrier_is_reset_is_told(mp, start, until):
    barrier = mp.Barrier(2)
    other = start(barrier.wait)
    until(lambda: barrier.n_waiting == 1)
    barrier.reset()
    assert isinstance(other.error(), threading.BrokenBarrierError)
    again = start(barrier.wait)
    assert {barrier.wait(), again.result()} == {0, 1}


def test_processes_of_every_kind_count_under_one_lock(context):
    for lock in (context.Lock(), context.RLock(), context.Semaphore(1), context.Condition()):
        counter = context.Value("i", lock=False)
        processes = [
            context.Process(target=lock_roles.count_under, args=(lock, counter, 500))
            for _ in range(3)
        ]
        for process in processes:
            process.start()
        lock_roles.count_under(lock, counter, 500)
        for process in processes:
            process.join()
            assert process.exitcode == 0
        assert counter.value == 2_000


def test_processes_of_every_kind_meet_at_a_barrier(context):
    barrier, indices = context.Barrier(3), context.Array("i", 10)
    processes = [
        context.Process(target=lock_roles.pass_barrier, args=(barrier, 10, indices))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    lock_roles.pass_barrier(barrier, 10, indices)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert list(indices) == [6] * 10


def test_handles_travel_by_any_pickle(context):
    lock, event = context.RLock(), context.Event()
    condition, barrier = context.Condition(), context.Barrier(1)
    made = pickle.loads(pickle.dumps((lock, event, condition, barrier, context.Semaphore(7))))
    with lock:
        assert repr(made[0]) == "<RLock(MainProcess, 1)>"
    event.set()
    assert made[1].is_set()
    with made[2]:
        assert "MainProcess" in repr(condition)
    assert made[3].wait() == 0
    assert made[4].get_value() == 7


def test_all_of_a_hundred_waiters_are_notified(context, start, until):
    condition, sleeping, woken = context.Condition(), context.Semaphore(0), context.Semaphore(0)
    for _ in range(100):
        start(lock_roles.wait_in, condition, sleeping, woken)
    for _ in range(100):
        sleeping.acquire()
    with condition:
        condition.notify_all()
    until(lambda: woken.get_value() == 100)


def test_a_forked_child_does_not_own_what_its_parent_owns(context, fork):
    lock, plain = context.RLock(), context.Lock()

    def look():
        assert repr(lock) == "<RLock(SomeOtherProcess, nonzero)>"
        assert not lock.acquire(False)
        with contextlib.suppress(AssertionError):
            lock.release()
            raise RuntimeError("released what the parent owns")
        assert not plain.acquire(timeout=0.01)

    with lock, plain:
        assert fork.reap(fork(look)) == 0
    assert lock.acquire(False)


def test_arguments_that_make_no_sense_are_refused(context):
    for make in (lambda: context.Semaphore(-1), lambda: context.Barrier(0)):
        with pytest.raises(ValueError, match=r"\d to|>"):
            make()
    with pytest.raises(TypeError):
        context.Condition(threading.Lock()).wait()
