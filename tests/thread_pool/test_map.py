"""``ThreadPoolExecutor.map``: order, laziness, errors, timeouts, and what it frees."""

import gc
import itertools
import threading
import weakref

import pytest
from manyhands._futures.map import DEFAULT_WINDOW
from manyhands.futures import ThreadPoolExecutor


class Thing:
    pass


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_results_come_in_the_order_of_the_input(pool):
    assert list(pool.map(pow, range(100), itertools.repeat(2))) == [n**2 for n in range(100)]


def test_everything_is_submitted_before_anybody_asks():
    done = []
    pool = ThreadPoolExecutor(1)
    pool.map(done.append, range(10))
    pool.shutdown()
    assert sorted(done) == list(range(10))


def test_more_than_the_window_is_submitted_before_anybody_asks():
    """What the standard submits at the call, we submit when nobody is going to ask any more."""
    n_items = DEFAULT_WINDOW + 1_000
    for keep in (True, False):
        done = []
        pool = ThreadPoolExecutor(1)
        results = pool.map(done.append, range(n_items))
        if not keep:
            del results
        pool.shutdown()
        assert len(done) == n_items


def test_an_infinite_input_is_read_as_far_as_needed(pool):
    results = pool.map(abs, itertools.count())
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    results.close()


def test_no_more_than_the_buffer_is_in_flight(pool):
    taken = []

    def numbers():
        for n in range(100):
            taken.append(n)
            yield n

    results = pool.map(abs, numbers(), buffersize=5)
    assert len(taken) == 5
    next(results)
    assert len(taken) == 6
    assert list(results) == list(range(1, 100))


@pytest.mark.parametrize(
    ("buffersize", "error"), [("1", TypeError), (1.5, TypeError), (0, ValueError), (-1, ValueError)]
)
def test_a_bad_buffer_size_is_refused(pool, buffersize, error):
    with pytest.raises(error, match="buffersize must be"):
        pool.map(abs, [], buffersize=buffersize)


def test_an_item_that_fails_raises_at_its_place_and_harms_no_other(pool):
    results = pool.map(divmod, [1, 1, 1, 1], [2, 0, 3, 1])
    assert next(results) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == [(0, 1), (1, 0)]


def test_an_input_that_fails_raises_from_the_call(pool):
    def broken():
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        pool.map(abs, broken())


def test_when_the_time_of_the_map_is_over_everything_is_cancelled(pool):
    gate = threading.Event()
    ran = []

    def work(n):
        ran.append(n)
        gate.wait()

    results = pool.map(work, range(10), timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    gate.set()
    assert list(results) == []
    pool.shutdown()
    assert len(ran) <= 2


def test_closing_a_map_cancels_the_rest(pool):
    gate = threading.Event()
    ran = []

    def work(n):
        ran.append(n)
        if n:
            gate.wait()

    results = pool.map(work, range(10))
    next(results)
    results.close()
    gate.set()
    pool.shutdown()
    assert len(ran) <= 3


def test_dropping_a_map_that_was_started_cancels_the_rest(pool):
    gate = threading.Event()
    ran = []

    def work(n):
        ran.append(n)
        if n:
            gate.wait()

    results = pool.map(work, range(10))
    next(results)
    del results
    gate.set()
    pool.shutdown()
    assert len(ran) <= 3


def test_a_result_that_was_handed_out_is_not_kept(pool):
    for thing in pool.map(lambda _: Thing(), range(20)):
        freed = weakref.ref(thing)
        del thing
        assert freed() is None


def test_a_map_with_nothing_left_to_submit_does_not_keep_its_executor():
    pool = ThreadPoolExecutor(1)
    results = pool.map(abs, [-1, -2])
    dropped = weakref.ref(pool)
    del pool
    gc.collect()
    assert dropped() is None
    assert list(results) == [1, 2]


def test_a_map_over_nothing_is_empty(pool):
    assert list(pool.map(abs, [])) == []
    assert list(pool.map(abs)) == []
