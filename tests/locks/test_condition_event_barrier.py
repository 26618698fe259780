"""Condition, Event and Barrier: who is woken, who is not, and what is refused."""

import gc
import threading as standard
import time
import weakref

import pytest

N_WAITERS = 6


@pytest.fixture(params=["its own", "Lock", "RLock", "a standard lock"])
def condition(module, request):
    """A condition over each kind of lock that it may be given."""
    match request.param:
        case "its own":
            return module.Condition()
        case "a standard lock":
            return module.Condition(standard.Lock())
        case kind:
            return module.Condition(getattr(module, kind)())


class Waiters:
    """Threads in `condition.wait`; entered while the lock was held, so none can be missed."""

    def __init__(self, condition, start, until, n_waiters=N_WAITERS, timeout=None):
        self.condition, self.until = condition, until
        self.n_entered, self.n_woken = 0, 0
        self.running = [start(self.wait, timeout) for _ in range(n_waiters)]
        # Whoever has entered holds the lock until it sleeps, so whoever sees the count under the
        # lock sees a sleeper.
        until(lambda: self.count("n_entered") == n_waiters)

    def wait(self, timeout):
        with self.condition:
            self.n_entered += 1
            woken = self.condition.wait(timeout)
            self.n_woken += 1
            return woken

    def count(self, name):
        with self.condition:
            return getattr(self, name)

    def notify(self, n):
        with self.condition:
            self.condition.notify(n)

    def end(self):
        with self.condition:
            self.condition.notify_all()
        return [each.result() for each in self.running]


def test_notify_wakes_as_many_as_asked_and_no_more(condition, start, until):
    waiters = Waiters(condition, start, until)
    for n_woken, n in ((1, 1), (3, 2), (3, 0), (6, 99)):
        waiters.notify(n)
        until(lambda expected=n_woken: waiters.count("n_woken") >= expected)
        assert waiters.count("n_woken") == n_woken
    assert waiters.end() == [True] * N_WAITERS


def test_notify_all_wakes_all(condition, start, until):
    assert Waiters(condition, start, until).end() == [True] * N_WAITERS


def test_a_notification_without_waiters_is_lost(condition, start):
    with condition:
        condition.notify(5)
        condition.notify_all()
        assert condition.wait(0.01) is False


def test_a_timed_wait_gives_up_and_holds_the_lock_again(condition, start):
    with condition:
        started = time.monotonic()
        assert condition.wait(0.1) is False
        assert time.monotonic() - started >= 0.099
        assert start(condition.acquire, False).result() is False


def test_a_notification_goes_to_a_waiter_that_is_still_there(condition, start, until):
    waiters = Waiters(condition, start, until, n_waiters=2, timeout=0.05)
    until(lambda: waiters.count("n_woken") == 2)
    assert [each.result() for each in waiters.running] == [False, False]
    patient = Waiters(condition, start, until, n_waiters=1)
    patient.notify(1)
    assert patient.running[0].result() is True


def test_wait_and_notify_need_the_lock(condition):
    for call in (condition.wait, condition.notify, condition.notify_all, lambda: condition.wait(0)):
        with pytest.raises(RuntimeError):
            call()
    with condition:
        assert condition.wait(0) is False


def test_a_reentrant_lock_is_given_up_whatever_its_depth(module, start, until):
    condition = module.Condition(module.RLock())
    entered = []

    def wait():
        with condition, condition, condition:
            entered.append(1)
            assert condition.wait() is True
            # Three levels are held again.
            condition.release()
            condition.release()
            assert condition.acquire(False)
            assert condition.acquire(False)

    waiting = start(wait)
    until(lambda: entered)
    with condition:
        condition.notify()
    waiting.result()
    assert condition.acquire(False)
    condition.release()
    with pytest.raises(RuntimeError):
        condition.release()


def test_wait_for_returns_what_the_predicate_said(condition, start):
    ready = []

    def make_ready():
        with condition:
            ready.append("salt")
            condition.notify_all()

    with condition:
        making = start(make_ready)
        assert condition.wait_for(lambda: ready and ready[0]) == "salt"
        assert condition.wait_for(lambda: 0, timeout=0.02) == 0
        with pytest.raises(ZeroDivisionError):
            condition.wait_for(lambda: 1 / 0)
    making.result()


def test_conditions_may_share_a_lock(module, start, until):
    lock = module.Lock()
    full, empty = module.Condition(lock), module.Condition(lock)
    shelf, taken = [], []

    def take():
        for _ in range(200):
            with full:
                full.wait_for(lambda: shelf)
                taken.append(shelf.pop())
                empty.notify()

    taking = start(take)
    for n in range(200):
        with empty:
            empty.wait_for(lambda: not shelf)
            shelf.append(n)
            full.notify()
    taking.result()
    assert taken == list(range(200))


def test_a_condition_in_a_cycle_is_collected(module):
    condition = module.Condition()
    condition_of = {"condition": condition}
    holder = type("Holder", (), {})()
    holder.lock_user = condition_of
    condition_of["holder"] = holder
    reference = weakref.ref(condition)
    del condition, condition_of, holder
    gc.collect()
    assert reference() is None


def test_an_object_with_acquire_and_release_will_do_as_a_lock(module, start):
    class Counting:
        def __init__(self):
            self.lock, self.n_acquired = module.Lock(), 0

        def acquire(self, *args):
            taken = self.lock.acquire(*args)
            self.n_acquired += taken
            return taken

        def release(self):
            self.lock.release()

        def __enter__(self):
            return self.acquire()

        def __exit__(self, *_):
            self.release()

    lock = Counting()
    condition = module.Condition(lock)
    with condition:
        assert condition.wait(0.01) is False
    assert lock.n_acquired >= 2
    assert not lock.lock.locked()


def test_an_event_wakes_everybody_and_stays_set(module, start):
    event = module.Event()
    assert event.is_set() is False
    assert event.wait(0) is False
    assert event.wait(0.01) is False
    waiting = [start(event.wait) for _ in range(N_WAITERS)]
    waiting += [start(event.wait, 60) for _ in range(N_WAITERS)]
    event.set()
    assert [each.result() for each in waiting] == [True] * 2 * N_WAITERS
    assert event.is_set() is True
    assert event.wait() is True
    event.clear()
    assert event.is_set() is False
    assert event.wait(0.01) is False


def test_an_event_set_and_cleared_at_once_still_wakes_who_sleeps(module, start, until):
    event = module.Event()

    def pulse(waiting):
        event.set()
        event.clear()
        return waiting.is_over()

    # A pulse may come before the sleep; one that comes during it must not be missed.
    for _ in range(30):
        waiting = start(event.wait, 50)
        until(lambda waiting=waiting: pulse(waiting))
        assert waiting.result() is True


def test_an_event_gives_up_after_its_timeout_at_the_earliest(module):
    started = time.monotonic()
    assert module.Event().wait(0.1) is False
    assert time.monotonic() - started >= 0.099


def test_a_barrier_lets_all_through_once_all_have_come(module, start):
    barrier, passed = module.Barrier(4), []

    def come():
        places = []
        for _ in range(50):
            places.append(barrier.wait())
            passed.append(1)
            # Nobody is a round ahead: whoever passed comes here, and waits for all.
            barrier.wait()
            assert len(passed) % 4 == 0
            barrier.wait()
        return places

    rounds = zip(*[running.result() for running in [start(come) for _ in range(4)]], strict=True)
    assert all(sorted(places) == [0, 1, 2, 3] for places in rounds)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (4, 0, False)


def test_a_barrier_runs_its_action_once_a_round_before_anybody_goes_on(module, start):
    done = []
    barrier = module.Barrier(3, action=lambda: done.append(1))

    def come():
        seen = []
        for _ in range(20):
            barrier.wait()
            seen.append(len(done))
            barrier.wait()
        return seen

    for running in [start(come) for _ in range(3)]:
        assert running.result() == list(range(1, 40, 2))


def test_a_barrier_whose_action_fails_is_broken_for_all(module, start, until):
    def fail():
        raise ZeroDivisionError

    barrier = module.Barrier(3, action=fail)
    others = [start(barrier.wait) for _ in range(2)]
    until(lambda: barrier.n_waiting == 2)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert all(isinstance(each.error(), module.BrokenBarrierError) for each in others)
    assert barrier.broken is True


@pytest.mark.parametrize("how", ["abort", "timeout", "default timeout", "reset"])
def test_a_barrier_that_breaks_tells_everybody(module, start, until, how):
    barrier = module.Barrier(4, timeout=0.2 if how == "default timeout" else None)
    others = [start(barrier.wait) for _ in range(2)]
    if how in ("abort", "reset"):
        until(lambda: barrier.n_waiting == 2)
        getattr(barrier, how)()
    elif how == "timeout":
        with pytest.raises(module.BrokenBarrierError):
            barrier.wait(0.02)
    assert all(isinstance(each.error(), module.BrokenBarrierError) for each in others)
    assert barrier.broken is (how != "reset")
    if how != "reset":
        with pytest.raises(module.BrokenBarrierError):
            barrier.wait()
        barrier.reset()
    assert barrier.broken is False
    again = [start(barrier.wait, 60) for _ in range(4)]
    assert sorted(each.result() for each in again) == [0, 1, 2, 3]


def test_a_barrier_for_one_stops_nobody(module):
    barrier = module.Barrier(1)
    assert [barrier.wait() for _ in range(5)] == [0] * 5


def test_a_barrier_for_nobody_is_refused(ours):
    for parties in (0, -1):
        with pytest.raises(ValueError):
            ours.Barrier(parties)
    with pytest.raises(TypeError):
        ours.Barrier()
