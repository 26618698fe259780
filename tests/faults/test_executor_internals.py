"""Floods, callbacks, waiting inside the pool, and abandoned iterators: nothing blocks for ever.

These are the ways in which executors have been seen to deadlock without any process dying.
"""

import itertools
import os
import threading
import time

import family_watch
import hostile_tasks as tasks
import pytest
from manyhands.futures import (
    FIRST_COMPLETED,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=[ProcessPoolExecutor, ThreadPoolExecutor], ids=["processes", "threads"])
def pool(request):
    with request.param(max_workers=2) as executor:
        yield executor


def test_a_flood_of_tasks_blocks_nobody(pool):
    futures = [pool.submit(tasks.square, n) for n in range(100_000)]
    assert sum(future.result(60) for future in futures) == sum(n * n for n in range(100_000))


def test_a_flood_from_many_threads_loses_nothing(pool):
    totals = []

    def flood(seed):
        futures = [pool.submit(tasks.square, seed * 2_000 + n) for n in range(2_000)]
        totals.append(sum(future.result(60) for future in futures))

    floods = [threading.Thread(target=flood, args=(seed,)) for seed in range(8)]
    for thread in floods:
        thread.start()
    for thread in floods:
        thread.join()
    assert sum(totals) == sum(n * n for n in range(16_000))


def test_submit_does_not_wait_for_large_results_that_nobody_takes():
    with ProcessPoolExecutor(max_workers=2) as executor:
        large = [executor.submit(tasks.make_bytes, 4 << 20) for _ in range(20)]
        small = [executor.submit(tasks.square, n) for n in range(1_000)]
        assert [future.result(60) for future in small] == [n * n for n in range(1_000)]
        assert all(len(future.result(60)) == 4 << 20 for future in large)


def test_a_callback_may_submit_to_the_same_pool(pool):
    ended = threading.Event()
    left = [300]

    def again(future):
        left[0] -= 1
        if left[0] <= 0:
            ended.set()
        else:
            pool.submit(tasks.square, future.result()).add_done_callback(again)

    pool.submit(tasks.square, 1).add_done_callback(again)
    assert ended.wait(60)


def test_a_callback_that_raises_is_logged_and_the_next_one_runs(pool, caplog):
    called = threading.Event()
    future = pool.submit(tasks.nap, 0.1)
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(lambda _: called.set())
    assert called.wait(60)
    assert "ZeroDivisionError" in caplog.text
    assert pool.submit(tasks.square, 3).result(60) == 9


def test_a_callback_that_blocks_does_not_keep_results_from_their_waiters(pool):
    go_on = threading.Event()
    # Long enough that the callback is there before the task ends: it must not run in this thread.
    blocked = pool.submit(tasks.nap, 0.3)
    blocked.add_done_callback(lambda _: go_on.wait(60))
    try:
        if isinstance(pool, ThreadPoolExecutor):
            # There the callback has taken one of the two workers, as in the standard library.
            assert pool.submit(tasks.square, 5).result(60) == 25
        else:
            assert blocked.result(60)
            assert list(pool.map(tasks.square, range(20), timeout=60))[-1] == 361
    finally:
        go_on.set()


def test_a_callback_on_a_completed_future_runs_at_once_in_the_caller(pool):
    future = pool.submit(tasks.square, 2)
    future.result(60)
    seen = []
    future.add_done_callback(lambda _: seen.append(threading.current_thread()))
    assert seen == [threading.current_thread()]


def test_every_callback_of_many_futures_runs_exactly_once(pool):
    calls = []
    futures = [pool.submit(tasks.square, n) for n in range(3_000)]
    for future in futures:
        future.add_done_callback(calls.append)
    wait(futures, timeout=60)
    family_watch.wait_until(lambda: len(calls) >= 3_000, "all callbacks ran")
    assert len(calls) == len(set(calls)) == 3_000


def test_tasks_that_wait_for_tasks_of_their_own_pool_run_those():
    with ThreadPoolExecutor(max_workers=2) as executor:

        def depth(n):
            return 0 if n == 0 else 1 + executor.submit(depth, n - 1).result()

        assert executor.submit(depth, 8).result(60) == 8


def test_a_process_task_that_submits_to_its_own_pool_runs_that_itself(run):
    finished = run(
        """
from manyhands.futures import ProcessPoolExecutor
executor = ProcessPoolExecutor(max_workers=1)

def depth(n):
    return 0 if n == 0 else 1 + executor.submit(depth, n - 1).result()

future = executor.submit(depth, 4)
print(future.result(50))
executor.shutdown()
"""
    )
    assert (finished.status, finished.out) == (0, "4\n"), finished.err


def test_every_callback_has_run_when_shutdown_returns(pool):
    for _ in range(20):
        calls = []
        with type(pool)(max_workers=2) as executor:
            for number in range(200):
                executor.submit(tasks.square, number).add_done_callback(calls.append)
        assert len(calls) == 200


def test_a_sliding_window_of_short_tasks_never_leaves_one_asleep_in_a_worker(pool):
    # Tasks are given, taken back and moved between workers all the time; every one must be seen.
    for _ in range(60):
        with type(pool)(max_workers=2) as executor:
            window = [executor.submit(tasks.square, number) for number in range(10)]
            for number in range(200):
                window.append(executor.submit(tasks.square, number))
                window.pop(0).result(60)


def test_map_over_an_endless_iterable_takes_only_what_its_buffer_holds(pool):
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield number

    results = pool.map(tasks.square, endless(), buffersize=10)
    assert list(itertools.islice(results, 100)) == [n * n for n in range(100)]
    assert len(taken) <= 111
    results.close()
    assert pool.submit(tasks.square, 4).result(60) == 16


@pytest.mark.parametrize("end", ["close", "del"])
def test_an_abandoned_map_lets_the_pool_end(pool, end, marks):
    results = pool.map(tasks.leave_mark, itertools.repeat(marks.path), range(5_000), buffersize=4)
    next(results)
    if end == "close":
        results.close()
    del results
    assert pool.submit(tasks.square, 4).result(60) == 16
    pool.shutdown(wait=True)
    assert len(marks.read()) <= 20


def test_an_abandoned_map_cancels_what_has_not_started(pool, marks):
    results = pool.map(
        tasks.mark_and_nap, itertools.repeat(marks.path), range(200), itertools.repeat(0.02)
    )
    next(results)
    results.close()
    pool.shutdown(wait=True)
    assert len(marks.read()) < 100


def test_an_iterable_that_raises_fails_the_map_and_nothing_else(pool):
    def broken():
        yield from range(5)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(pool.map(tasks.square, broken()))
    assert pool.submit(tasks.square, 4).result(60) == 16


def test_shutdown_while_others_submit_ends_every_future_or_refuses_it(pool):
    futures, refused = [], []

    def submit_until_refused():
        while True:
            try:
                futures.append(pool.submit(tasks.square, 3))
            except RuntimeError as error:
                refused.append(error)
                return

    submitters = [threading.Thread(target=submit_until_refused) for _ in range(4)]
    for submitter in submitters:
        submitter.start()
    family_watch.wait_until(lambda: len(futures) > 200, "they submit")
    pool.shutdown(wait=True)
    for submitter in submitters:
        submitter.join()
    assert len(refused) == 4
    assert all(future.result(60) == 9 for future in futures)


def test_shutdown_while_arguments_fail_to_pickle_does_not_deadlock():
    for _ in range(10):
        executor = ProcessPoolExecutor(max_workers=2)
        futures = [executor.submit(tasks.identity, threading.Lock()) for _ in range(20)]
        executor.shutdown(wait=True, cancel_futures=True)
        assert all(future.done() for future in futures)


def test_shutdown_from_a_callback_does_not_deadlock(pool):
    ended = threading.Event()

    def end(_):
        pool.shutdown(wait=False)
        ended.set()

    pool.submit(tasks.nap, 0.05).add_done_callback(end)
    assert ended.wait(60)
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(tasks.square, 1)


def test_shutdown_twice_and_from_several_threads_is_harmless(pool):
    futures = [pool.submit(tasks.nap, 0.01) for _ in range(20)]
    threads = [threading.Thread(target=pool.shutdown) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.shutdown()
    assert all(future.done() for future in futures)


@pytest.mark.parametrize("way", ["terminate_workers", "kill_workers"])
def test_ending_the_workers_of_a_busy_pool_ends_every_future(way):
    executor = ProcessPoolExecutor(max_workers=2)
    futures = [executor.submit(tasks.nap, 1000) for _ in range(10)]
    family_watch.wait_until(futures[0].running, "it runs")
    workers = list(executor._processes)
    getattr(executor, way)()
    done, not_done = wait(futures, timeout=60)
    assert not not_done
    assert all(future.cancelled() or future.exception() for future in done)
    for pid in workers:
        family_watch.wait_until_dead(pid)


def test_many_waiters_of_one_future_all_wake(pool):
    future = pool.submit(tasks.nap, 0.2)
    results = []
    waiters = [
        threading.Thread(target=lambda: results.append(future.result(60))) for _ in range(50)
    ]
    for waiter in waiters:
        waiter.start()
    for waiter in waiters:
        waiter.join()
    assert len(results) == 50
    assert len(set(results)) == 1


def test_futures_of_different_pools_can_be_waited_for_together():
    import concurrent.futures as standard

    with (
        ProcessPoolExecutor(1) as processes,
        ThreadPoolExecutor(1) as threads,
        standard.ThreadPoolExecutor(1) as foreign,
    ):
        futures = [pool.submit(tasks.nap, 0.05) for pool in (processes, threads, foreign)]
        for module_wait in (wait, standard.wait):
            done, not_done = module_wait(futures, timeout=60)
            assert (len(done), len(not_done)) == (3, 0)
        more = [pool.submit(tasks.nap, 0.05) for pool in (processes, threads, foreign)]
        assert set(as_completed(more, timeout=60)) == set(more)
        more = [pool.submit(tasks.nap, 0.05) for pool in (processes, threads, foreign)]
        assert set(standard.as_completed(more, timeout=60)) == set(more)


def test_waiting_for_the_first_of_many_leaves_nothing_behind(pool):
    slow = pool.submit(tasks.nap, 0.5)
    for _ in range(500):
        done, _ = wait([slow, pool.submit(tasks.nothing)], timeout=60, return_when=FIRST_COMPLETED)
        assert done
    assert not getattr(slow, "_waiters", []), "each wait takes its own waiter away again"
    assert slow.result(60)


def test_a_wait_that_times_out_can_be_repeated(pool):
    slow = pool.submit(tasks.nap, 0.4)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            slow.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        next(as_completed([slow], timeout=0.01))
    assert slow.result(60)


def test_a_slow_worker_does_not_hold_back_tasks_behind_a_long_one():
    with ProcessPoolExecutor(max_workers=2) as executor:
        wait([executor.submit(tasks.nap, 0.05) for _ in range(4)], timeout=60)
        long = executor.submit(tasks.nap, 3)
        short = [executor.submit(tasks.square, n) for n in range(500)]
        _, not_done = wait(short, timeout=60)
        assert not not_done
        assert not long.done(), "the short ones went round the long one"
        assert long.result(60) != os.getpid()


def test_the_pool_survives_a_storm_of_short_pools():
    for number in range(30):
        with ProcessPoolExecutor(max_workers=2) as executor:
            assert executor.submit(tasks.square, number).result(60) == number * number


def test_submitting_from_a_task_of_another_pool_works():
    with ProcessPoolExecutor(max_workers=2) as processes, ThreadPoolExecutor(4) as threads:

        def relay(number):
            time.sleep(0.001)
            return processes.submit(tasks.square, number).result(60)

        assert list(threads.map(relay, range(200), timeout=60)) == [n * n for n in range(200)]
