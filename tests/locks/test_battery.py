"""What everything that can be acquired has in common: one battery over all kinds of locks."""

import copy
import gc
import math
import os
import pickle
import re
import time
import weakref

import pytest

KINDS = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"]
LOCKS = ["Lock", "RLock"]
ALL = [*KINDS, "Event", "Barrier", "RwLock"]


def make(module, kind, **keywords):
    return getattr(module, kind)(*([2] if kind == "Barrier" else []), **keywords)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def lock(module, kind):
    return make(module, kind)


def test_a_free_lock_is_taken_at_once(lock):
    assert lock.acquire() is True
    lock.release()
    assert lock.acquire(False) is True
    lock.release()
    assert lock.acquire(blocking=True, timeout=5) is True
    lock.release()


def test_a_with_block_holds_the_lock_and_gives_it_back(lock, start):
    with lock as taken:
        assert taken is True
        assert start(lock.acquire, False).result() is False
    assert start(lambda: lock.acquire(False) and lock.release()).result() is None


def test_an_exception_in_a_with_block_gives_the_lock_back(lock, start):
    def in_block():
        with lock:
            raise ZeroDivisionError

    assert isinstance(start(in_block).error(), ZeroDivisionError)
    assert lock.acquire(False) is True
    lock.release()


def test_whoever_does_not_want_to_wait_does_not(lock, start):
    with lock:
        assert start(lock.acquire, False).result() is False
        assert start(lambda: lock.acquire(blocking=False)).result() is False
        assert start(lambda: lock.acquire(timeout=0)).result() is False


def test_a_timed_wait_lasts_at_least_as_long_as_asked(lock, start):
    def wait():
        started = time.monotonic()
        taken = lock.acquire(timeout=0.15)
        return taken, time.monotonic() - started

    with lock:
        taken, waited_s = start(wait).result()
    assert taken is False
    assert waited_s >= 0.149


def test_a_timed_wait_takes_a_lock_that_becomes_free(lock, start):
    def take():
        taken = lock.acquire(timeout=60)
        lock.release()
        return taken

    with lock:
        waiting = [start(take) for _ in range(4)]
    assert [each.result() for each in waiting] == [True] * 4


def test_every_waiter_gets_the_lock_once_it_is_free(lock, start):
    inside = []

    def take():
        with lock:
            inside.append("in")
            assert inside == ["in"], "two threads are inside"
            time.sleep(0.001)
            inside.clear()

    lock.acquire()
    waiting = [start(take) for _ in range(8)]
    lock.release()
    for each in waiting:
        each.result()


def test_a_timeout_without_blocking_is_refused(lock):
    with pytest.raises(ValueError, match="timeout"):
        lock.acquire(False, 1)
    with pytest.raises(ValueError, match="timeout"):
        lock.acquire(blocking=False, timeout=1)
    assert lock.acquire(False) is True, "a refused call took the lock"
    lock.release()


@pytest.mark.parametrize("timeout", ["soon", [], object()])
def test_a_timeout_that_is_no_number_is_refused(lock, timeout, start):
    with lock:
        assert isinstance(start(lock.acquire, True, timeout).error(), TypeError)


@pytest.mark.parametrize("kind", LOCKS)
def test_timeouts_out_of_range_are_refused(module, kind):
    lock = make(module, kind)
    for timeout in (-2, -0.5, math.nan):
        with pytest.raises(ValueError):
            lock.acquire(timeout=timeout)
    for timeout in (1e100, math.inf):
        with pytest.raises(OverflowError):
            lock.acquire(timeout=timeout)
    assert lock.acquire(timeout=-1) is True
    lock.release()
    assert lock.acquire(timeout=module.TIMEOUT_MAX) is True
    lock.release()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Condition"])
def test_releasing_what_nobody_holds_is_an_error(module, kind):
    lock = make(module, kind)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            lock.release()
    with lock:
        pass
    with pytest.raises(RuntimeError):
        lock.release()


def test_a_lock_may_be_released_by_another_thread(module, start):
    lock = module.Lock()
    lock.acquire()
    start(lock.release).result()
    assert lock.acquire(False) is True


@pytest.mark.parametrize("kind", ["RLock", "Condition"])
def test_a_reentrant_lock_is_released_only_by_its_owner(module, kind, start):
    lock = make(module, kind)
    with lock:
        assert isinstance(start(lock.release).error(), RuntimeError)
        assert start(lock.acquire, False).result() is False


@pytest.mark.parametrize("kind", ["RLock", "Condition"])
def test_a_reentrant_lock_is_free_when_released_as_often_as_acquired(module, kind, start):
    lock = make(module, kind)
    for depth in range(1, 101):
        assert lock.acquire() is True
        if depth % 2:
            assert lock.acquire(False) is True
            lock.release()
    for _ in range(100):
        assert start(lock.acquire, False).result() is False
        lock.release()
    assert start(lambda: lock.acquire(False) and lock.release()).result() is None


@pytest.mark.parametrize("kind", LOCKS)
def test_locked_says_whether_anybody_holds_it(ours, kind, start):
    lock = make(ours, kind)
    assert lock.locked() is False
    with lock:
        assert lock.locked() is True
        assert start(lock.locked).result() is True
    assert lock.locked() is False


@pytest.mark.parametrize("kind", LOCKS)
def test_the_repr_shows_whether_it_is_held(module, kind):
    lock = make(module, kind)
    assert repr(lock).startswith("<unlocked ")
    with lock:
        assert repr(lock).startswith("<locked ")
    assert f"{id(lock):x}" in repr(lock)


@pytest.mark.parametrize("kind", ALL)
def test_the_repr_names_the_public_class_and_the_name_given(ours, kind):
    shown = repr(make(ours, kind, name="salt cellar"))
    assert f"threading.{kind}" in shown
    assert "salt cellar" in shown
    assert re.fullmatch(r"<.*>", shown)


@pytest.mark.parametrize("kind", ALL)
def test_the_class_shows_its_public_module(ours, kind):
    cls = getattr(ours, kind)
    assert (cls.__module__, cls.__qualname__) == ("manyhands.threading", kind)


@pytest.mark.parametrize("kind", ALL)
def test_a_name_is_an_option_that_has_no_effect_but_on_reports(ours, kind):
    assert make(ours, kind).name is None
    assert make(ours, kind, name="salt").name == "salt"
    with pytest.raises(TypeError):
        make(ours, kind, name=7)


@pytest.mark.parametrize("kind", ALL)
def test_pickling_is_refused_with_a_sentence_that_says_what_to_do(ours, kind):
    with pytest.raises(TypeError, match=f"cannot pickle a {kind}.*one process"):
        pickle.dumps(make(ours, kind))
    with pytest.raises(TypeError, match=f"cannot pickle a {kind}"):
        copy.copy(make(ours, kind))


@pytest.mark.parametrize("kind", [*KINDS, "Event", "Barrier"])
def test_weak_references_work_and_hold_nothing(module, kind):
    lock = make(module, kind)
    reference = weakref.ref(lock)
    assert reference() is lock
    del lock
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_held_lock_may_be_dropped(module, kind):
    lock = make(module, kind)
    lock.acquire()
    reference = weakref.ref(lock)
    del lock
    gc.collect()
    assert reference() is None


def test_a_lock_refuses_arguments_and_subclasses(module):
    with pytest.raises(TypeError):
        module.Lock(1)
    with pytest.raises(TypeError):
        type("Mine", (type(module.Lock()),), {})


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"])
def test_a_subclass_may_have_arguments_and_attributes_of_its_own(module, kind):
    base = getattr(module, kind)

    class Mine(base):
        def __init__(self, colour):
            super().__init__(*([2] if kind == "Barrier" else []))
            self.colour = colour

    assert Mine("green").colour == "green"
    assert Mine(colour="red").colour == "red"


@pytest.mark.parametrize(
    "kind", ["RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier", "RwLock"]
)
def test_a_subclass_may_call_its_attributes_as_it_likes(ours, kind):
    class Mine(getattr(ours, kind)):
        def __init__(self):
            super().__init__(*([2] if kind == "Barrier" else []))
            # Ours has a name, the standard ones have the others, which subclasses replace.
            for attribute in ("name", "_lock", "_cond", "_value", "_flag", "_waiters", "colour"):
                setattr(self, attribute, attribute)

    mine = Mine()
    assert (mine.name, mine.colour) == ("name", "colour")


def test_a_subclass_of_rlock_may_have_arguments_and_attributes_of_its_own(ours):
    class Mine(ours.RLock):
        def __init__(self, colour):
            super().__init__()
            self.colour = colour

    with Mine("green") as taken:
        assert taken is True
    assert Mine(colour="red").colour == "red"


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_statistics_count_what_happened(ours, kind, start, until):
    lock = make(ours, kind)
    assert lock.statistics() == {"acquisitions": 0, "contended": 0, "waited": 0.0}
    for _ in range(5):
        with lock:
            pass
    assert lock.acquire(False)
    lock.release()
    assert lock.statistics() == {"acquisitions": 6, "contended": 0, "waited": 0.0}
    lock.acquire()
    waiting = start(lock.acquire)
    until(lambda: lock.statistics()["contended"] == 1)
    lock.release()
    waiting.result()
    counted = lock.statistics()
    assert (counted["acquisitions"], counted["contended"]) == (8, 1)
    assert counted["waited"] > 0


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_a_wait_given_up_counts_as_contended_but_not_as_acquired(ours, kind, start):
    lock = make(ours, kind)
    with lock:
        assert start(lambda: lock.acquire(timeout=0.02)).result() is False
    counted = lock.statistics()
    assert (counted["acquisitions"], counted["contended"]) == (1, 1)
    assert counted["waited"] >= 0.019


@pytest.mark.parametrize("kind", [*KINDS, "Event", "Barrier"])
def test_ten_thousand_of_them_need_no_descriptors(module, kind):
    before = len(os.listdir("/proc/self/fd"))
    many = [make(module, kind) for _ in range(10_000)]
    assert len(os.listdir("/proc/self/fd")) == before
    del many
