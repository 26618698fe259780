"""apply, map, starmap, their asynchronous forms, and the results those return."""

import multiprocessing
import threading
import time

import pool_tasks as tasks
import pytest
from manyhands.multiprocessing import pool as pool_module


def test_apply_returns_what_the_call_returns(pool):
    assert pool.apply(int, ("ff",), {"base": 16}) == 255


def test_apply_raises_what_the_call_raises(pool):
    with pytest.raises(KeyError, match="7"):
        pool.apply(tasks.fail, (7,))


@pytest.mark.parametrize("chunksize", [None, 1, 7, 1000])
@pytest.mark.parametrize("make", [range, list, iter])
def test_map_returns_results_in_the_order_of_the_input(pool, chunksize, make):
    items = range(100) if make is range else make(range(100))
    assert pool.map(tasks.square, items, chunksize) == [n * n for n in range(100)]


@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_starmap_unpacks_each_item(pool, chunksize):
    assert pool.starmap(pow, [(2, 3), [3, 2], (5, 1)] * 5, chunksize) == [8, 9, 5] * 5


def test_starmap_of_what_cannot_be_unpacked_raises_at_the_result(pool):
    for chunksize in (1, 2):
        with pytest.raises(TypeError):
            pool.starmap(pow, [(2, 3), 5], chunksize)


def test_map_of_nothing_is_an_empty_list(pool):
    assert pool.map(tasks.square, []) == []
    assert pool.map_async(tasks.square, [], chunksize=1).get(timeout=10) == []


def test_map_waits_for_all_tasks_before_it_raises(pool, tmp_path):
    marks = [tmp_path / str(number) for number in range(4)]
    with pytest.raises(LookupError):
        pool.starmap(mark_or_fail, [(str(mark), number) for number, mark in enumerate(marks)], 1)
    assert [mark.exists() for mark in marks] == [False, True, True, True]


def mark_or_fail(path, number):
    if number == 0:
        raise LookupError
    with open(path, "w"):
        pass


def test_map_raises_what_the_input_raises(pool):
    with pytest.raises(LookupError, match="the input is broken"):
        pool.map(tasks.square, tasks.raising_input(10, 3), 1)


def test_map_raises_what_a_sized_input_raises_as_a_result(pool):
    class Sized:
        def __len__(self):
            return 5

        def __iter__(self):
            return tasks.raising_input(5, 2)

    result = pool.map_async(tasks.square, Sized(), 1)
    with pytest.raises(LookupError):
        result.get()


def test_get_raises_the_standard_timeout_error(pool):
    result = pool.apply_async(time.sleep, (0.3,))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.001)
    assert result.get() is None


def test_a_failed_result_is_ready_and_not_successful(pool):
    result = pool.apply_async(tasks.fail, (1,))
    result.wait()
    assert result.ready()
    assert not result.successful()
    for _ in range(2):
        with pytest.raises(KeyError):
            result.get()


def test_a_callback_has_returned_when_the_result_is_there(pool):
    seen = []
    assert pool.apply_async(tasks.square, (3,), callback=seen.append).get() == 9
    assert seen == [9]
    assert pool.map_async(tasks.square, range(3), 1, callback=seen.append).get() == [0, 1, 4]
    assert seen == [9, [0, 1, 4]]


def test_an_error_callback_gets_the_exception(pool):
    seen = []
    result = pool.map_async(
        tasks.fail, range(3), 1, callback=seen.append, error_callback=seen.append
    )
    result.wait()
    assert [type(error) for error in seen] == [KeyError]


def test_callbacks_run_in_a_thread_of_their_own(pool):
    seen = []
    callback = lambda _: seen.append(threading.current_thread())  # noqa: E731
    for _ in range(20):
        pool.apply_async(tasks.square, (1,), callback=callback).wait()
    assert len(set(seen)) == 1
    assert threading.current_thread() not in seen


def test_a_callback_that_blocks_delays_no_result_without_one(pool):
    gate = threading.Event()
    blocked = pool.apply_async(tasks.square, (1,), callback=lambda _: gate.wait())
    assert pool.map(tasks.square, range(100)) == [n * n for n in range(100)]
    assert not blocked.ready()
    gate.set()
    assert blocked.get() == 1


def test_a_callback_that_raises_is_reported_and_the_result_is_there(pool, monkeypatch):
    reports = []
    monkeypatch.setattr("sys.unraisablehook", reports.append)
    result = pool.apply_async(tasks.square, (2,), callback=lambda _: 1 / 0)
    assert result.get() == 4
    assert pool.apply_async(tasks.square, (3,), callback=lambda _: None).get() == 9
    assert [report.exc_type for report in reports] == [ZeroDivisionError]


def test_a_callback_may_submit_to_its_pool(pool):
    results = []
    first = pool.apply_async(
        tasks.square, (2,), callback=lambda n: results.append(pool.apply_async(tasks.square, (n,)))
    )
    first.wait()
    assert results[0].get() == 16


def test_an_exception_of_a_process_has_the_standard_remote_traceback(processes):
    import multiprocessing.pool

    for call in (lambda: processes.apply(tasks.fail, (1,)), lambda: processes.map(tasks.fail, [1])):
        with pytest.raises(KeyError) as caught:
            call()
        assert type(caught.value.__cause__) is multiprocessing.pool.RemoteTraceback
        assert "in fail" in caught.value.__cause__.tb


@pytest.mark.parametrize("make", [tasks.make_lambda, tasks.make_unpicklable])
def test_a_result_that_cannot_be_pickled_is_a_maybe_encoding_error(processes, make):
    import multiprocessing.pool

    assert pool_module.MaybeEncodingError is multiprocessing.pool.MaybeEncodingError
    for _ in range(5):
        with pytest.raises(pool_module.MaybeEncodingError) as caught:
            processes.apply(make)
        assert caught.value.exc
        assert caught.value.value
    assert processes.apply(tasks.square, (2,)) == 4


def test_an_argument_that_cannot_be_pickled_raises_its_own_error(processes):
    with pytest.raises(RuntimeError, match="cannot pickle"):
        processes.map(tasks.square, [tasks.Unpicklable()] * 3)
    with pytest.raises(RuntimeError, match="cannot pickle"):
        processes.apply(tasks.square, (tasks.Unpicklable(),))
    assert list(processes.imap_unordered(tasks.square, [1, 2])) in ([1, 4], [4, 1])


def test_lambdas_and_bound_methods_can_be_mapped(processes):
    factor = 3
    assert processes.map(lambda n: n * factor, range(10)) == list(range(0, 30, 3))
    assert processes.map("-".join, [["a", "b"], ["c"]] * 4, 3) == ["a-b", "c"] * 4


def test_a_rebound_variable_is_seen_by_the_next_map(processes):
    factor = 2
    multiply = lambda n: n * factor  # noqa: E731
    assert processes.map(multiply, [1, 2, 3, 4], 2) == [2, 4, 6, 8]
    factor = 5
    assert processes.map(multiply, [1, 2, 3, 4], 2) == [5, 10, 15, 20]


def test_system_exit_of_a_task_is_its_result(processes):
    result = processes.apply_async(tasks.leave, (3,))
    with pytest.raises(SystemExit, match="3"):
        result.get()
    assert processes.apply(tasks.square, (2,)) == 4
