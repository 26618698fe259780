"""Sizes and counts beyond what a machine word holds: each works, or is refused with a sentence."""

import itertools

import pytest
from manyhands import futures, multiprocessing, threading

HUGE = [2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64, 10**30]


@pytest.mark.parametrize("n", HUGE)
@pytest.mark.parametrize("make", [futures.ThreadPoolExecutor, futures.ProcessPoolExecutor])
def test_a_pool_may_be_allowed_any_number_of_workers(make, n):
    with make(max_workers=n) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
        assert list(itertools.islice(pool.map(abs, [-1], buffersize=n), 1)) == [1]


@pytest.mark.parametrize("n", HUGE)
def test_a_worker_may_be_allowed_any_number_of_tasks(n):
    with futures.ProcessPoolExecutor(1, max_tasks_per_child=n) as pool:
        assert pool.submit(abs, -1).result() == 1
    with multiprocessing.Pool(1, maxtasksperchild=n) as pool:
        assert pool.map(abs, [-1], chunksize=n) == [1]
        assert list(pool.imap(abs, [-1], chunksize=n)) == [1]


def test_a_chunk_may_be_as_long_as_one_likes():
    with futures.ProcessPoolExecutor(1) as pool:
        for n in HUGE:
            assert list(pool.map(abs, [-1, -2], chunksize=n)) == [1, 2]


@pytest.mark.parametrize("module", [threading, multiprocessing])
def test_permits_and_parties_that_cannot_be_counted_are_refused_with_a_sentence(module):
    for n in HUGE:
        for make in (module.Semaphore, module.BoundedSemaphore):
            with pytest.raises(ValueError, match="permits"):
                make(n)
    for n in HUGE[2:]:
        with pytest.raises(ValueError, match="parties"):
            module.Barrier(n)
    for n in (0, -1, -(2**63) - 1, -(10**30)):
        with pytest.raises(ValueError, match="parties"):
            module.Barrier(n)
    with pytest.raises(ValueError, match=r">= 0|permits"):
        module.Semaphore(-(10**30))


@pytest.mark.parametrize("n", HUGE)
def test_a_condition_notifies_as_many_as_there_are(n):
    for condition in (threading.Condition(), multiprocessing.Condition()):
        with condition:
            condition.notify(n)


@pytest.mark.parametrize("n", HUGE)
def test_a_release_of_more_permits_than_can_be_counted_changes_nothing(n):
    semaphore = threading.Semaphore(1)
    with pytest.raises(ValueError, match="too many times"):
        semaphore.release(n)
    assert semaphore._value == 1
