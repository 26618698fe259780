"""Semaphore and BoundedSemaphore: permits are neither lost nor made."""

import pytest


@pytest.fixture(params=["Semaphore", "BoundedSemaphore"])
def make(module, request):
    return getattr(module, request.param)


def test_there_are_as_many_permits_as_asked_for(make):
    semaphore = make(7)
    assert [semaphore.acquire(False) for _ in range(8)] == [True] * 7 + [False]
    assert semaphore.acquire(timeout=0.01) is False
    for _ in range(7):
        semaphore.release()
    assert semaphore.acquire(False) is True


def test_one_permit_is_the_default(make):
    semaphore = make()
    assert semaphore.acquire() is True
    assert semaphore.acquire(False) is False


def test_a_semaphore_may_start_without_permits(module, start):
    semaphore = module.Semaphore(0)
    assert semaphore.acquire(blocking=False) is False
    waiting = start(semaphore.acquire)
    semaphore.release()
    assert waiting.result() is True


def test_a_negative_number_of_permits_is_refused(make):
    with pytest.raises(ValueError, match=">= 0"):
        make(-1)
    with pytest.raises(ValueError, match=">= 0"):
        make(value=-1)


def test_releasing_several_wakes_several(make, start):
    semaphore = make(5)
    for _ in range(5):
        semaphore.acquire()
    waiting = [start(semaphore.acquire) for _ in range(5)]
    semaphore.release(2)
    semaphore.release(n=3)
    assert [each.result() for each in waiting] == [True] * 5
    assert semaphore.acquire(False) is False


def test_releasing_less_than_one_is_refused(make):
    semaphore = make(1)
    for n in (0, -1):
        with pytest.raises(ValueError):
            semaphore.release(n)


def test_a_plain_semaphore_may_be_released_more_often_than_acquired(module):
    semaphore = module.Semaphore(1)
    semaphore.release(3)
    assert [semaphore.acquire(False) for _ in range(5)] == [True] * 4 + [False]


def test_a_bounded_semaphore_is_not_released_more_often_than_acquired(module):
    semaphore = module.BoundedSemaphore(2)
    with pytest.raises(ValueError):
        semaphore.release()
    semaphore.acquire()
    with pytest.raises(ValueError):
        semaphore.release(2)
    semaphore.release()
    assert [semaphore.acquire(False) for _ in range(3)] == [True, True, False]


def test_a_bounded_semaphore_is_a_semaphore(module):
    assert issubclass(module.BoundedSemaphore, module.Semaphore)


def test_a_permit_taken_with_a_timeout_is_not_taken_twice(make, start):
    semaphore = make(1)
    semaphore.acquire()
    waiting = [start(semaphore.acquire, True, 0.05) for _ in range(4)]
    for each in waiting:
        assert each.result() is False
    semaphore.release()
    assert semaphore.acquire(False) is True
    assert semaphore.acquire(False) is False


def test_the_repr_shows_the_permits_left(module):
    semaphore = module.Semaphore(3)
    semaphore.acquire()
    assert "value=2" in repr(semaphore)
    bounded = module.BoundedSemaphore(3)
    bounded.acquire()
    assert "value=2/3" in repr(bounded)


def test_a_semaphore_says_whether_it_is_used_up(ours):
    semaphore = ours.Semaphore(2)
    assert semaphore.locked() is False
    with semaphore, semaphore:
        assert semaphore.locked() is True
    assert semaphore.locked() is False
