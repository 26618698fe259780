"""The future itself: states, results, callbacks, cancelling, and what it frees."""

import concurrent.futures
import gc
import logging
import pickle
import threading
import weakref

import pytest
from manyhands.futures import (
    CancelledError,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
)


class Thing:
    pass


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def busy(pool):
    """A pool whose two threads wait for an event."""
    gate = threading.Event()
    blockers = [pool.submit(gate.wait) for _ in range(2)]
    while not all(blocker.running() for blocker in blockers):
        pass
    yield pool
    gate.set()


def test_a_future_is_a_standard_future(pool):
    future = pool.submit(int)
    assert isinstance(future, Future)
    assert isinstance(future, concurrent.futures.Future)
    assert type(future).__module__ == "manyhands.futures"


def test_a_hand_made_future_carries_a_result():
    future = Future()
    assert not future.done()
    assert future.set_running_or_notify_cancel()
    assert future.running()
    future.set_result("rice")
    assert future.result() == "rice"
    assert future.exception() is None


def test_a_second_result_is_refused_and_the_first_stays():
    future = Future()
    future.set_result(1)
    with pytest.raises(InvalidStateError, match=r"FINISHED: <Future at 0x[0-9a-f]+ state=fini"):
        future.set_result(2)
    with pytest.raises(InvalidStateError):
        future.set_exception(ValueError())
    assert future.result() == 1


def test_a_result_after_a_cancel_is_refused():
    future = Future()
    assert future.cancel()
    assert future.cancel()
    with pytest.raises(InvalidStateError):
        future.set_result(1)
    with pytest.raises(CancelledError):
        future.result()
    with pytest.raises(CancelledError):
        future.exception()


def test_a_cancelled_hand_made_future_is_noticed_once(caplog):
    future = Future()
    future.cancel()
    assert future._state == "CANCELLED"
    assert not future.set_running_or_notify_cancel()
    assert future._state == "CANCELLED_AND_NOTIFIED"
    with caplog.at_level(logging.CRITICAL), pytest.raises(RuntimeError):
        future.set_running_or_notify_cancel()
    assert "unexpected state" in caplog.text


def test_a_result_that_is_not_there_in_time_is_a_timeout(busy):
    future = busy.submit(int)
    for timeout in (0, 0.01, -1):
        with pytest.raises(TimeoutError):
            future.result(timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout=timeout)


@pytest.mark.parametrize("timeout", [None, 1e10, float("inf"), 10**9, 3.5])
def test_large_timeouts_mean_long_waits(pool, timeout):
    assert pool.submit(int).result(timeout) == 0


def test_a_timeout_that_is_no_number_is_refused(busy):
    future = busy.submit(int)
    with pytest.raises(TypeError):
        future.result("soon")
    with pytest.raises(ValueError, match="nan"):
        future.result(float("nan"))


def test_the_exception_of_a_task_is_raised_with_its_traceback(pool):
    def fail():
        raise KeyError("salt")

    future = pool.submit(fail)
    with pytest.raises(KeyError, match="salt") as caught:
        future.result()
    assert caught.traceback[-1].name == "fail"
    assert future.exception() is caught.value


def test_base_exceptions_of_a_task_belong_to_its_future(pool):
    def leave():
        raise SystemExit(3)

    assert isinstance(pool.submit(leave).exception(), SystemExit)
    assert pool.submit(int).result() == 0


def test_a_falsy_exception_is_an_exception(pool):
    class Falsy(Exception):
        def __bool__(self):
            return False

    def fail():
        raise Falsy

    with pytest.raises(Falsy):
        pool.submit(fail).result()


def test_callbacks_run_once_in_order_with_the_future(pool):
    order = []
    future = Future()
    for index in range(3):
        future.add_done_callback(lambda f, index=index: order.append((index, f)))
    future.set_result(None)
    future.add_done_callback(lambda f: order.append((3, f)))
    assert order == [(index, future) for index in range(4)]


def test_a_callback_that_raises_is_logged_and_the_next_one_runs(caplog):
    ran = []
    future = Future()
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(ran.append)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        future.set_result(None)
    assert ran == [future]
    assert "exception calling callback for" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_callback_may_submit_and_wait_for_another_pool(pool):
    with ThreadPoolExecutor(1) as other:
        results = []
        done = threading.Event()

        def callback(_):
            results.append(other.submit(pow, 2, 5).result())
            done.set()

        pool.submit(int).add_done_callback(callback)
        assert done.wait(60)
        assert results == [32]


def test_callbacks_of_a_cancelled_task_run_in_the_canceller(busy):
    future = busy.submit(int)
    names = []
    future.add_done_callback(lambda _: names.append(threading.current_thread().name))
    assert future.cancel()
    assert names == [threading.current_thread().name]


def test_a_plain_cancel_leaves_a_running_task_alone(pool):
    gate = threading.Event()
    future = pool.submit(gate.wait)
    while not future.running():
        pass
    assert not future.cancel()
    gate.set()
    assert future.result()
    assert not future.cancel()


def test_a_cancelled_task_never_starts(busy):
    ran = []
    futures = [busy.submit(ran.append, n) for n in range(100)]
    assert all(future.cancel() for future in futures)
    assert all(future.cancelled() and future.done() for future in futures)
    busy.shutdown(wait=False)
    assert ran == []


def test_what_a_task_was_called_with_is_freed_before_its_result_is_seen(pool):
    thing = Thing()
    freed = weakref.ref(thing)
    future = pool.submit(lambda _: None, thing)
    del thing
    future.result()
    assert freed() is None


def test_what_a_cancelled_task_would_have_been_called_with_is_freed_at_once(busy):
    thing = Thing()
    freed = weakref.ref(thing)
    future = busy.submit(lambda _: None, thing)
    del thing
    assert future.cancel()
    assert freed() is None


def test_an_idle_worker_keeps_no_result(pool):
    future = pool.submit(Thing)
    freed = weakref.ref(future.result())
    del future
    assert freed() is None


def test_a_cycle_through_a_result_or_a_callback_is_collected(pool):
    one, two = pool.submit(Thing), Future()
    one.result().future = one
    two.add_done_callback(lambda _, two=two: two)
    freed = [weakref.ref(one), weakref.ref(two)]
    del one, two
    gc.collect()
    assert [reference() for reference in freed] == [None, None]


def test_the_repr_tells_the_state_and_the_name(busy):
    future = busy.options(name="soup").submit(int)
    assert "state=pending name='soup'" in repr(future)
    future.cancel()
    assert "state=cancelled" in repr(future)
    done = Future()
    done.set_exception(OSError())
    assert repr(done).endswith("state=finished raised OSError>")


def test_statistics_tell_times_in_order_and_the_worker(pool):
    future = pool.options(name="sum").submit(sum, [1, 2])
    future.result()
    numbers = future.statistics()
    assert numbers["submitted"] <= numbers["started"] <= numbers["finished"]
    assert numbers["worker"].startswith("ThreadPoolExecutor-")
    assert (numbers["state"], numbers["name"]) == ("finished", "sum")


def test_a_subclass_keeps_attributes_and_weak_references():
    class Mine(Future):
        pass

    future = Mine()
    future.colour = "red"
    assert weakref.ref(future)() is future
    future.set_result(1)
    assert (future.colour, future.result()) == ("red", 1)


def test_every_waiting_thread_gets_the_result():
    future = Future()
    results = []
    waiters = [threading.Thread(target=lambda: results.append(future.result(60))) for _ in range(8)]
    for waiter in waiters:
        waiter.start()
    future.set_result(5)
    for waiter in waiters:
        waiter.join()
    assert results == [5] * 8


def test_a_future_or_an_executor_cannot_be_pickled(pool):
    for unpicklable in (Future(), pool.submit(int), pool):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(unpicklable)
