"""Processes that die with a lock, or while they wait, keep nobody else waiting."""

import signal
import threading
import time
import warnings

import lock_roles
import pytest
from manyhands import multiprocessing
from manyhands.multiprocessing import synchronize
from manyhands.multiprocessing.synchronize import OwnerDied, owner_died_mode, set_owner_died_mode


def orphan(lock, fork):
    """Lets a process die with the lock."""
    assert fork.reap(fork(lock_roles.die_with, lock)) == -signal.SIGKILL


@pytest.fixture(params=["Lock", "RLock"])
def make(request):
    return getattr(synchronize, request.param)


def test_the_next_owner_is_warned_once(make, fork):
    lock = make(name="ledger")
    orphan(lock, fork)
    with pytest.warns(
        OwnerDied, match=r'process \d+ ended while it held the shared R?Lock "ledger"'
    ):
        lock.acquire()
    lock.release()
    with warnings.catch_warnings(), lock:
        warnings.simplefilter("error")


def test_processes_of_every_kind_leave_their_locks(make, context):
    lock = make()
    process = context.Process(target=lock_roles.die_with, args=(lock,))
    process.start()
    process.join()
    with pytest.warns(OwnerDied):
        assert lock.acquire(timeout=60)
    lock.release()


@pytest.mark.parametrize("arguments", [(False,), (True, 0.001)], ids=["at once", "in a moment"])
def test_who_never_waits_long_gets_the_lock_of_a_dead_owner(make, fork, arguments):
    lock = make()
    orphan(lock, fork)
    with pytest.warns(OwnerDied):
        assert lock.acquire(*arguments)
    lock.release()


def test_who_waits_when_the_owner_dies_gets_the_lock(make, fork, start):
    lock, taken = make(), multiprocessing.Event()

    def hold():
        with lock:
            taken.set()
            time.sleep(600)

    owner = fork(hold)
    taken.wait()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        waiting = start(lock.acquire)
        assert not waiting.is_over()
        fork.kill(owner)
        assert waiting.result()


def test_an_error_comes_with_the_lock_held(make, fork):
    lock = make(owner_died="raise")
    orphan(lock, fork)
    with pytest.raises(OwnerDied):
        lock.acquire()
    assert lock.locked() and lock._is_mine()
    lock.release()
    with lock:
        pass


def test_a_block_that_does_not_begin_leaves_the_lock_and_the_news(make, fork):
    lock = make(owner_died="raise")
    orphan(lock, fork)
    for _ in range(2):
        with pytest.raises(OwnerDied), lock:
            pytest.fail("the block began")
        assert not lock.locked()
    with pytest.raises(OwnerDied):
        lock.acquire()
    lock.release()
    with lock:
        pass


def test_a_timed_acquisition_takes_over_as_well(make, fork):
    lock = make(owner_died="ignore")
    orphan(lock, fork)
    assert lock.acquire(True, 60)
    lock.release()


def test_an_acquisition_that_does_not_wait_takes_over_as_well(make, fork):
    lock = make(owner_died="ignore")
    for how in [(False,), (True, 0), (True, 0.001)]:
        orphan(lock, fork)
        assert lock.acquire(*how), how
        lock.release()


def test_an_acquisition_that_does_not_wait_leaves_a_living_owner_alone(make, fork):
    lock, taken, enough = make(), multiprocessing.Event(), multiprocessing.Event()

    def hold():
        with lock:
            taken.set()
            enough.wait()

    owner = fork(hold)
    taken.wait()
    assert not lock.acquire(False) and not lock.acquire(True, 0.001)
    enough.set()
    assert fork.reap(owner) == 0


def test_the_process_has_a_mode(make, fork):
    before, lock = owner_died_mode(), make()
    try:
        set_owner_died_mode("raise")
        orphan(lock, fork)
        with pytest.raises(OwnerDied):
            lock.acquire()
        lock.release()
        set_owner_died_mode("ignore")
        orphan(lock, fork)
        with lock:
            pass
        with pytest.raises(ValueError, match="'warn', 'raise' or 'ignore', not 'shout'"):
            set_owner_died_mode("shout")
    finally:
        set_owner_died_mode(before)
    with pytest.raises(ValueError, match="'warn', 'raise' or 'ignore', not 'shout'"):
        make(owner_died="shout")


def test_a_mode_that_was_given_to_the_lock_travels_with_it(fork):
    lock = synchronize.Lock(owner_died="raise")
    orphan(lock, fork)

    def take():
        with pytest.raises(OwnerDied):
            lock.acquire()

    assert fork.reap(fork(take)) == 0


def test_a_process_that_died_in_a_wait_takes_no_notification(fork, start):
    condition, sleeping, woken = (
        multiprocessing.Condition(),
        multiprocessing.Semaphore(0),
        multiprocessing.Semaphore(0),
    )
    first = fork(lock_roles.wait_in, condition, sleeping, woken)
    sleeping.acquire()
    second = start(lock_roles.wait_in, condition, sleeping, woken)
    sleeping.acquire()
    with condition:
        fork.kill(first)
        condition.notify()
    second.result()
    assert woken.get_value() == 1


def test_a_death_in_a_barrier_breaks_it(fork, until, start):
    barrier = multiprocessing.Barrier(3)
    victim = fork(lock_roles.wait_and_die_in, barrier)
    until(lambda: barrier.n_waiting == 1)
    waiting = start(barrier.wait)
    until(lambda: barrier.n_waiting == 2)
    fork.kill(victim)
    assert isinstance(waiting.error(), threading.BrokenBarrierError)
    assert barrier.broken


def test_a_death_in_the_action_breaks_the_barrier(fork, until, start):
    began = multiprocessing.Event()

    def action():
        began.set()
        time.sleep(600)

    barrier = multiprocessing.Barrier(2, action=action)
    waiting = start(barrier.wait)
    until(lambda: barrier.n_waiting == 1)
    last = fork(lock_roles.wait_and_die_in, barrier)
    began.wait()
    fork.kill(last)
    assert isinstance(waiting.error(), threading.BrokenBarrierError)


def test_a_wake_up_that_died_with_its_receiver_is_not_missed(fork, start):
    semaphore, asleep = multiprocessing.Semaphore(0), multiprocessing.Semaphore(0)

    def wait():
        asleep.release()
        semaphore.acquire()

    victims = [fork(wait) for _ in range(3)]
    for _ in victims:
        asleep.acquire()
    waiting = start(semaphore.acquire)
    for victim in victims:
        fork.kill(victim)
    semaphore.release()
    assert waiting.result()
