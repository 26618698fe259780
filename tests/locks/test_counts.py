"""Counts that a program drives end with an error, never by wrapping."""

import pytest
from manyhands import threading
from manyhands.threading import RLock, Semaphore

DEEPEST = 2**32 - 1


def test_an_rlock_that_cannot_count_one_more_raises_as_the_standard_one_does():
    lock = RLock()
    lock._acquire_restore(DEEPEST)
    for acquire in (lock.acquire, lambda: lock.acquire(False), lock.__enter__):
        with pytest.raises(OverflowError, match="as often as can be counted"):
            acquire()
    condition = threading.Condition(lock)
    with pytest.raises(OverflowError):
        condition.acquire()
    assert lock._recursion_count() == DEEPEST
    lock.release()
    assert lock.acquire()
    assert lock._release_save() == DEEPEST
    assert not lock.locked()


def test_an_rlock_that_is_restored_is_held_once_at_least():
    lock = RLock()
    lock._acquire_restore(0)
    lock.release()
    assert not lock.locked()


def test_a_semaphore_refuses_permits_that_it_cannot_count():
    semaphore = Semaphore(2**31 - 1)
    with pytest.raises(ValueError, match="too many times"):
        semaphore.release()
    for n in (2**31, 2**32, 2**63 - 1):
        with pytest.raises(ValueError, match="too many times"):
            Semaphore(1).release(n)
    assert semaphore._value == 2**31 - 1
