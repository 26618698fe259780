"""Stopping running tasks: cancel(running=True) and options(timeout=...), exact and on time."""

import concurrent.futures
import threading
import time

import pytest
from manyhands.futures import Cancelled, CancelledError, ThreadPoolExecutor


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def endless(started=None):
    if started is not None:
        started.set()
    while True:
        pass


def test_a_running_task_is_stopped_and_its_worker_goes_on(pool):
    started = threading.Event()
    future = pool.submit(endless, started)
    started.wait()
    assert future.cancel(running=True)
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result()
    assert pool.submit(abs, -1).result() == 1
    assert len(pool._threads) == 1


def test_a_stopped_task_can_clean_up(pool):
    events = []
    started, left = threading.Event(), threading.Event()

    def body():
        try:
            endless(started)
        except Cancelled as stop:
            events.append(type(stop).__module__)
            raise
        finally:
            left.set()

    future = pool.submit(body)
    started.wait()
    future.cancel(running=True)
    assert left.wait(60)
    assert events == ["manyhands"]


def test_except_exception_does_not_swallow_a_stop(pool):
    started, left = threading.Event(), threading.Event()

    def body():
        try:
            while True:
                try:
                    started.set()
                    time.sleep(0.001)
                except Exception:
                    pass
        finally:
            left.set()

    future = pool.submit(body)
    started.wait()
    assert future.cancel(running=True)
    assert left.wait(60)


def test_a_task_that_swallows_the_stop_is_cancelled_all_the_same(pool):
    started, go_on = threading.Event(), threading.Event()

    def body():
        try:
            endless(started)
        except Cancelled:
            go_on.set()
            return "swallowed"

    future = pool.submit(body)
    started.wait()
    future.cancel(running=True)
    assert go_on.wait(60)
    with pytest.raises(CancelledError):
        future.result()


def test_a_stop_never_reaches_the_next_task():
    """Tasks that end just as they are stopped, thousands of times: only they may see it."""
    leaked = []

    def short():
        for _ in range(50):
            pass

    def innocent():
        try:
            for _ in range(200):
                pass
        except BaseException as error:
            leaked.append(error)
            raise
        return True

    with ThreadPoolExecutor(2) as pool:
        for _ in range(3_000):
            victims = [pool.submit(short) for _ in range(2)]
            others = [pool.submit(innocent) for _ in range(2)]
            for victim in victims:
                victim.cancel(running=True)
            assert all(other.result(60) for other in others)
            for victim in victims:
                assert victim.cancelled() or victim.result() is None
        assert leaked == []
        assert pool.statistics()["workers"] <= 2


def test_ten_thousand_waiting_tasks_are_cancelled_while_others_run():
    ran = []
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(ran.append, n) for n in range(10_000)]
        cancelled = {n for n, task in enumerate(tasks) if task.cancel()}
        concurrent.futures.wait(tasks)
        assert cancelled.isdisjoint(ran)
        assert len(cancelled) + len(ran) == 10_000


def test_a_task_over_its_time_raises_timeout_and_frees_its_worker(pool):
    future = pool.options(timeout=0.02, name="soup").submit(endless)
    with pytest.raises(TimeoutError, match=r"the task 'soup' ran longer than its timeout of 0.02"):
        future.result()
    assert pool.submit(abs, -1).result() == 1


def test_a_task_in_time_keeps_its_result(pool):
    quick = pool.options(timeout=30)
    assert [quick.submit(abs, -n).result() for n in range(100)] == list(range(100))


def test_time_waiting_for_a_worker_does_not_count(pool):
    gate = threading.Event()
    pool.submit(gate.wait)
    future = pool.options(timeout=0.5).submit(abs, -1)
    with pytest.raises(TimeoutError):
        future.result(timeout=1)
    gate.set()
    assert future.result() == 1


def test_a_timeout_is_on_time_although_the_body_sits_in_c_code(pool):
    """The worker that does not leave is replaced, so that the pool keeps its size."""
    gate = threading.Lock()
    gate.acquire()
    future = pool.options(timeout=0.02).submit(gate.acquire)
    with pytest.raises(TimeoutError):
        future.result()
    assert pool.submit(abs, -1).result() == 1
    gate.release()


def test_a_cancelled_task_that_sits_in_c_code_is_left_behind_after_its_grace(pool):
    gate = threading.Lock()
    gate.acquire()
    future = pool.submit(gate.acquire)
    while not future.running():
        pass
    assert future.cancel(running=True, grace=0.01)
    assert pool.submit(abs, -1).result() == 1
    assert len(pool._threads) == 1
    gate.release()


def test_a_task_stopped_while_it_waits_for_another_future_leaves_the_wait(pool):
    never = concurrent.futures.Future()
    from manyhands.futures import Future

    ours, left = Future(), threading.Event()

    def body():
        try:
            ours.result()
        finally:
            left.set()

    future = pool.submit(body)
    while not future.running():
        pass
    future.cancel(running=True, grace=60)
    assert left.wait(60)
    assert not never.done()


def test_a_task_stopped_while_it_helps_another_lets_that_one_finish(pool):
    started, go_on = threading.Event(), threading.Event()
    seen = []

    def inner():
        started.set()
        go_on.wait()
        seen.append("inner")
        return "inner"

    def outer():
        result = pool.submit(inner).result()
        for _ in range(1_000_000):
            pass
        seen.append(result)

    future = pool.submit(outer)
    started.wait()
    assert future.cancel(running=True, grace=60)
    go_on.set()
    pool.submit(int).result()
    assert seen == ["inner"]


def test_a_helped_task_that_is_stopped_fails_only_its_own_future(pool):
    started = threading.Event()
    inner_futures = []

    def outer():
        inner_futures.append(pool.submit(endless, started))
        try:
            inner_futures[0].result()
        except CancelledError:
            return "outer goes on"

    future = pool.submit(outer)
    started.wait()
    assert inner_futures[0].cancel(running=True)
    assert future.result() == "outer goes on"


def test_one_map_item_over_its_time_harms_no_other():
    def work(n):
        if n == 1:
            endless()
        return n

    with ThreadPoolExecutor(2) as pool:
        results = pool.options(timeout=0.05).map(work, range(4))
        assert next(results) == 0
        with pytest.raises(TimeoutError):
            next(results)
        assert list(results) == [2, 3]


def test_many_timeouts_are_all_kept():
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.options(timeout=0.01).submit(endless) for _ in range(20)]
        assert all(isinstance(future.exception(), TimeoutError) for future in futures)
        assert pool.submit(abs, -1).result() == 1
