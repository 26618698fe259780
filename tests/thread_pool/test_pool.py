"""ThreadPoolExecutor: threads, shutdown, initializers, options, nesting."""

import concurrent.futures
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest
from manyhands.futures import CancelledError, ThreadPoolExecutor, as_completed, wait


def test_it_is_a_standard_executor():
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool, concurrent.futures.Executor)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_workers": 0}, ValueError),
        ({"max_workers": -1}, ValueError),
        ({"max_workers": 1, "initializer": 5}, TypeError),
    ],
)
def test_bad_arguments_are_refused(arguments, error):
    with pytest.raises(error):
        ThreadPoolExecutor(**arguments)


def test_submit_needs_a_function():
    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError):
        pool.submit()


def test_keyword_arguments_of_any_name_reach_the_function():
    def show(**keywords):
        return keywords

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(show, fn=1, self=2).result() == {"fn": 1, "self": 2}


def test_threads_are_named_and_enumerated():
    with ThreadPoolExecutor(2, thread_name_prefix="cook") as pool:
        thread = pool.submit(threading.current_thread).result()
        assert thread.name == "cook_0"
        assert thread in threading.enumerate()
        assert thread in pool._threads
        assert thread.daemon


def test_an_idle_thread_is_reused():
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            pool.submit(int).result()
        assert len(pool._threads) == 1


def test_a_busy_pool_grows_to_its_size_and_no_further():
    gate = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        for _ in range(9):
            pool.submit(gate.wait)
        assert len(pool._threads) == 3
        gate.set()


def test_a_small_stack_is_enough_for_a_small_task():
    before = threading.stack_size()
    with ThreadPoolExecutor(1, stack_size=256 * 1024) as pool:
        assert pool.submit(sum, range(100)).result() == 4950
    assert threading.stack_size() == before


def test_the_default_size_respects_python_cpu_count(monkeypatch):
    monkeypatch.setenv("PYTHON_CPU_COUNT", "3")
    assert ThreadPoolExecutor()._max_workers == 7


def test_the_default_size_respects_a_program_that_says_how_many_processors_there_are(monkeypatch):
    monkeypatch.setattr("os.process_cpu_count", lambda: 11, raising=False)
    assert ThreadPoolExecutor()._max_workers == 15


def test_the_default_size_respects_affinity_at_that_moment():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert ThreadPoolExecutor()._max_workers == 5
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], 13), (["-X", "cpu_count=3"], 7), (["-X", "cpu_count=default"], None), (["-E"], None)],
    ids=["the environment", "an option beats it", "an option takes it back", "-E ignores it"],
)
def test_the_default_size_is_what_the_interpreter_was_told_at_its_start(options, expected):
    code = "from manyhands.futures import ThreadPoolExecutor as T; print(T()._max_workers)"
    ended = subprocess.run(
        [sys.executable, *options, "-c", code],
        env={**os.environ, "PYTHON_CPU_COUNT": "9"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    assert int(ended.stdout) == (expected or ThreadPoolExecutor()._max_workers)


def test_the_initializer_runs_in_each_thread_before_its_tasks():
    local = threading.local()

    def initialize(value):
        local.value = value

    with ThreadPoolExecutor(2, initializer=initialize, initargs=("warm",)) as pool:
        assert pool.submit(lambda: local.value).result() == "warm"


def test_a_failing_initializer_breaks_the_pool(caplog):
    def initialize():
        raise OSError("no gas")

    caplog.set_level(logging.CRITICAL, "concurrent.futures")
    with ThreadPoolExecutor(1, initializer=initialize) as pool:
        with pytest.raises(concurrent.futures.BrokenExecutor, match="initializer failed"):
            pool.submit(int).result()
        with pytest.raises(concurrent.futures.thread.BrokenThreadPool):
            pool.submit(int)
    assert "Exception in initializer:" in caplog.text
    assert "no gas" in caplog.text
    assert "initializer failed" in pool._broken


def test_submit_after_shutdown_is_refused():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(int)


def test_shutdown_waits_for_what_is_queued():
    done = []
    pool = ThreadPoolExecutor(1)
    for n in range(100):
        pool.submit(done.append, n)
    pool.shutdown()
    assert done == list(range(100))
    assert not any(thread.is_alive() for thread in pool._threads)


def test_shutdown_can_cancel_what_is_queued():
    gate = threading.Event()
    pool = ThreadPoolExecutor(1)
    running = pool.submit(gate.wait)
    while not running.running():
        pass
    queued = [pool.submit(int) for _ in range(50)]
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    assert running.result()
    assert all(future.cancelled() for future in queued)
    pool.shutdown()


def test_a_task_may_shut_its_own_pool_down():
    pool = ThreadPoolExecutor(1)
    assert pool.submit(pool.shutdown).result() is None


def test_a_dropped_pool_finishes_its_work_and_frees_its_threads():
    pool = ThreadPoolExecutor(2)
    done = []
    futures = [pool.submit(done.append, n) for n in range(20)]
    threads, dropped = pool._threads, weakref.ref(pool)
    del pool
    gc.collect()
    assert dropped() is None
    wait(futures)
    assert sorted(done) == list(range(20))
    for thread in threads:
        thread.join()


def test_a_task_that_waits_for_its_own_pool_is_helped_along():
    with ThreadPoolExecutor(1) as pool:

        def fib(n):
            if n < 2:
                return n
            one, two = pool.submit(fib, n - 1), pool.submit(fib, n - 2)
            return one.result() + two.result()

        assert pool.submit(fib, 12).result() == 144


def test_a_task_that_waits_for_many_of_its_own_pool_is_helped_along():
    with ThreadPoolExecutor(1) as pool:

        def outer():
            first = [pool.submit(abs, -n) for n in range(5)]
            wait(first)
            second = [pool.submit(abs, -n) for n in range(5)]
            return sum(future.result() for future in as_completed([*first, *second]))

        assert pool.submit(outer).result() == 20


def test_tasks_may_submit_tasks():
    with ThreadPoolExecutor(2) as pool:
        assert pool.submit(lambda: pool.submit(int)).result().result() == 0


def test_work_that_never_runs_bytecode_lets_others_have_the_interpreter():
    with ThreadPoolExecutor(1) as pool:
        futures = [pool.submit(int) for _ in range(100_000)]
        while not futures[-1].done():
            time.sleep(0)
        assert all(future.done() for future in futures)


def test_options_are_checked_when_the_view_is_made():
    with ThreadPoolExecutor(1) as pool:
        for timeout in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="positive number of seconds"):
                pool.options(timeout=timeout)
        with pytest.raises(TypeError, match="name must be a string"):
            pool.options(name=5)


def test_a_view_is_an_executor_over_the_same_threads():
    with ThreadPoolExecutor(1) as pool:
        view = pool.options(name="soup").options(timeout=60)
        future = view.submit(threading.current_thread)
        assert future.result() in pool._threads
        assert future.name == "soup"
        assert list(view.map(abs, [-1, -2])) == [1, 2]
        assert view.statistics()["finished"] == pool.statistics()["finished"] >= 3


def test_statistics_and_repr_tell_what_happens():
    gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(gate.wait)
        while not running.running():
            pass
        pool.submit(int)
        numbers = pool.statistics()
        assert (numbers["submitted"], numbers["queued"], numbers["workers"]) == (2, 1, 1)
        assert "open: 1 of 1 threads, 1 tasks waiting" in repr(pool)
        gate.set()
    assert "shut down" in repr(pool)


def test_a_hundred_thousand_submits_from_several_threads_all_run():
    count = 0
    lock = threading.Lock()

    def add():
        nonlocal count
        with lock:
            count += 1

    with ThreadPoolExecutor(4) as pool:
        submitters = [
            threading.Thread(target=lambda: [pool.submit(add) for _ in range(25_000)])
            for _ in range(4)
        ]
        for submitter in submitters:
            submitter.start()
        for submitter in submitters:
            submitter.join()
    assert count == 100_000


def test_an_exception_of_one_task_has_no_part_in_another():
    def fail():
        raise ValueError(threading.current_thread().name)

    with ThreadPoolExecutor(2) as pool:
        errors = [pool.submit(fail).exception() for _ in range(10)]
    assert len({id(error) for error in errors}) == 10
    assert all(error.__context__ is None for error in errors)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_says_that_the_pool_is_not_there():
    gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pending, done = pool.submit(gate.wait), pool.submit(int)
        finished = ThreadPoolExecutor(1).submit(abs, -3)
        wait([finished])
        pid = os.fork()
        if pid == 0:
            told = []
            for attempt in (pending.result, done.exception, lambda: pool.submit(int)):
                try:
                    attempt()
                except RuntimeError as error:
                    told.append("after os.fork()" in str(error))
            fresh = ThreadPoolExecutor(1).submit(abs, -4).result()
            os._exit(0 if told == [True] * 3 and (finished.result(), fresh) == (3, 4) else 1)
        gate.set()
        assert os.waitpid(pid, 0)[1] == 0


def test_a_result_after_cancel_is_cancelled():
    gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(gate.wait)
        future = pool.submit(int)
        future.cancel()
        with pytest.raises(CancelledError):
            future.result()
        gate.set()
