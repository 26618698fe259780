"""imap and imap_unordered: order, laziness, failing inputs, dropped iterators."""

import gc
import itertools
import multiprocessing
import sys
import threading
import time

import pool_tasks as tasks
import pytest
from manyhands._mp.pools import input as pool_input
from manyhands.multiprocessing.pool import PoolTerminated

CHUNKS = pytest.mark.parametrize("chunksize", [1, 4, 1000])


@CHUNKS
@pytest.mark.parametrize("make", [list, iter])
def test_imap_keeps_the_order(pool, chunksize, make):
    assert list(pool.imap(tasks.square, make(range(50)), chunksize)) == [n * n for n in range(50)]


@CHUNKS
@pytest.mark.parametrize("make", [list, iter])
def test_imap_unordered_gives_every_result_once(pool, chunksize, make):
    results = sorted(pool.imap_unordered(tasks.square, make(range(50)), chunksize))
    assert results == [n * n for n in range(50)]


def test_imap_unordered_gives_a_quick_result_before_a_slow_one(pool):
    assert list(pool.imap_unordered(time.sleep, [0.5, 0])) == [None, None]
    first = next(pool.imap_unordered(sleep_and_name, [0.5, 0]))
    assert first == 0


def sleep_and_name(seconds):
    time.sleep(seconds)
    return seconds


def test_a_chunksize_below_one_is_refused(pool):
    for chunksize in (0, -1):
        with pytest.raises(ValueError, match="Chunksize must be 1"):
            pool.imap(tasks.square, [1], chunksize)


def test_the_first_result_comes_while_the_input_is_still_being_read(pool):
    gate = threading.Event()

    def slow_input():
        yield 2
        assert gate.wait(60)
        yield 3

    results = pool.imap(tasks.square, slow_input())
    assert next(results) == 4
    gate.set()
    assert list(results) == [9]


def test_an_input_may_depend_on_the_results(pool):
    found = []

    def growing():
        yield 2
        while found[-1] < 1000 if found else True:
            if found:
                yield found[-1]
            time.sleep(0.001)

    for result in pool.imap(tasks.square, growing()):
        found.append(result)
        if result >= 1000:
            break
    assert found[:2] == [4, 16]


def test_an_infinite_input_is_read_a_bounded_number_of_items_ahead(pool, monkeypatch):
    monkeypatch.setattr(pool_input, "WINDOW", 10)
    n_read = 0

    def endless():
        nonlocal n_read
        for number in itertools.count():
            n_read += 1
            yield number

    results = pool.imap(tasks.square, endless())
    assert [next(results) for _ in range(20)] == [n * n for n in range(20)]
    assert n_read <= 31
    del results
    gc.collect()


@pytest.mark.parametrize("make", [list, iter])
def test_more_items_than_the_window_all_arrive(pool, monkeypatch, make):
    monkeypatch.setattr(pool_input, "WINDOW", 3)
    assert list(pool.imap(tasks.square, make(range(40)))) == [n * n for n in range(40)]


@CHUNKS
@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_an_error_of_the_input_comes_after_what_was_read_before(pool, name, chunksize):
    results = getattr(pool, name)(tasks.square, tasks.raising_input(20, 9), chunksize)
    n_before = 9 // chunksize * chunksize
    assert sorted(next(results) for _ in range(n_before)) == [n * n for n in range(n_before)]
    with pytest.raises(LookupError, match="the input is broken"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_the_results_after_a_failed_one_can_still_be_had(pool):
    results = pool.imap(tasks.fail_at_three, range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError):
        next(results)
    assert list(results) == [4, 5]
    results = pool.imap(tasks.fail_at_three, range(6), 2)
    assert [next(results) for _ in range(2)] == [0, 1]
    with pytest.raises(LookupError):
        next(results)
    assert list(results) == [4, 5]


def test_next_has_a_timeout_and_loses_nothing(pool):
    results = pool.imap(sleep_and_name, [0.3, 0])
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0.001)
    assert results.next(timeout=60) == 0.3
    assert list(results) == [0]
    results = pool.imap_unordered(time.sleep, [0.3])
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0.001)
    assert results.next() is None


def test_a_timeout_also_ends_the_wait_for_a_slow_input(pool):
    gate = threading.Event()

    def slow_input():
        gate.wait(60)
        yield 1

    results = pool.imap(tasks.square, slow_input())
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0.01)
    gate.set()
    assert next(results) == 1


def test_an_iterator_dropped_at_once_still_has_its_tasks_done(pool, tmp_path):
    paths = [str(tmp_path / str(number)) for number in range(20)]
    pool.imap_unordered(touch, paths)
    pool.imap(touch, iter([str(tmp_path / "one more")]))
    pool.close()
    pool.join()
    assert len(list(tmp_path.iterdir())) == 21


def touch(path):
    with open(path, "w"):
        pass


@pytest.mark.parametrize("make", [list, iter])
def test_join_reads_inputs_that_are_longer_than_the_window(pool, monkeypatch, make):
    monkeypatch.setattr(pool_input, "WINDOW", 3)
    results = pool.imap(tasks.square, make(range(40)))
    pool.close()
    pool.join()
    assert list(results) == [n * n for n in range(40)]


def test_an_abandoned_iterator_does_not_keep_join_waiting(pool, monkeypatch):
    monkeypatch.setattr(pool_input, "WINDOW", 3)
    results = pool.imap(tasks.square, itertools.count())
    assert next(results) == 0
    del results
    pool.close()
    pool.join()


def test_terminate_ends_an_iterator_over_an_infinite_input(pool):
    results = pool.imap(tasks.square, itertools.count())
    assert next(results) == 0
    pool.terminate()
    has_ended = False
    while not has_ended:
        try:
            next(results)
        except StopIteration:
            has_ended = True
        except (PoolTerminated, ValueError):
            pass


def test_zip_over_one_iterator_twice_takes_turns(pool):
    results = pool.imap(tasks.square, range(6), 4)
    assert list(zip(results, results, strict=True)) == [(0, 1), (4, 9), (16, 25)]


@pytest.fixture
def quick_switches():
    """Threads change places after a microsecond: what can race does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quick_switches")
def test_several_threads_may_take_the_results_of_one_imap_while_another_joins(pool, monkeypatch):
    monkeypatch.setattr(pool_input, "WINDOW", 5)
    n_items, taken = 3000, []
    results = pool.imap_unordered(tasks.square, range(n_items), 2)

    def take():
        taken.extend(results)

    def take_some():
        taken.extend(itertools.islice(results, n_items // 6))

    threads = [threading.Thread(target=take_some) for _ in range(4)]
    threads.append(threading.Thread(target=take))
    for thread in threads:
        thread.start()
    threads[0].join()
    pool.close()
    pool.join()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [n * n for n in range(n_items)]
