"""``wait`` and ``as_completed``: ours, and the standard ones over our futures."""

import concurrent.futures
import random
import threading
import weakref

import pytest
from manyhands import futures
from manyhands.futures import (
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)

BOTH = pytest.mark.parametrize("module", [futures, concurrent.futures], ids=["ours", "standard"])


@pytest.fixture
def pool():
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def stuck(pool, gate):
    """A task that ends with its test."""
    return pool.submit(gate.wait)


def fail():
    raise ValueError


@BOTH
def test_wait_returns_when_all_are_done(module, pool):
    tasks = [pool.submit(pow, n, 2) for n in range(50)]
    done, not_done = module.wait([*tasks, tasks[0]])
    assert (done, not_done) == (set(tasks), set())


@BOTH
def test_wait_returns_at_the_first_that_is_done(module, pool, stuck):
    quick = pool.submit(int)
    done, not_done = module.wait([quick, stuck], return_when=FIRST_COMPLETED)
    assert (done, not_done) == ({quick}, {stuck})


@BOTH
def test_wait_returns_at_the_first_exception(module, pool, stuck):
    fine, broken = pool.submit(int), pool.submit(fail)
    done, not_done = module.wait([fine, broken, stuck], return_when=FIRST_EXCEPTION)
    assert broken in done
    assert stuck in not_done


@BOTH
def test_wait_gives_up_at_its_timeout(module, pool, stuck):
    quick = pool.submit(int)
    assert module.wait([quick, stuck], timeout=0.05) == ({quick}, {stuck})


@BOTH
def test_futures_of_both_kinds_can_be_awaited_together(module, pool):
    with concurrent.futures.ThreadPoolExecutor(1) as standard:
        tasks = {pool.submit(int), standard.submit(int), Future()}
        [made_by_hand] = [
            task
            for task in tasks
            if not task.done()
            and type(task) is Future
            and task.statistics()["state"] == "pending"
            and "worker" not in task.statistics()
        ]
        pool.submit(made_by_hand.set_result, 0)
        assert module.wait(tasks).done == tasks
        assert set(module.as_completed(tasks)) == tasks


@BOTH
def test_as_completed_yields_each_once_in_the_order_of_ending(module, pool):
    gates = [threading.Event() for _ in range(3)]
    tasks = [pool.submit(gate.wait) for gate in gates]
    order = [2, 0, 1]
    gates[order[0]].set()
    seen = []
    for task in module.as_completed([*tasks, *tasks]):
        seen.append(tasks.index(task))
        if len(seen) < 3:
            gates[order[len(seen)]].set()
    assert seen == order


@BOTH
def test_as_completed_says_how_many_are_unfinished_at_its_timeout(module, pool, stuck):
    quick = pool.submit(int)
    seen = module.as_completed([quick, stuck], timeout=0.05)
    assert next(seen) is quick
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
        next(seen)


@BOTH
def test_as_completed_keeps_no_future_that_it_has_yielded(module, pool):
    tasks = [pool.submit(object) for _ in range(10)]
    for task in module.as_completed(tasks):
        tasks.remove(task)
        freed = weakref.ref(task)
        del task
        assert freed() is None


@BOTH
def test_no_end_is_missed_while_futures_end_under_the_wait(module, pool):
    """Completion races with the standard functions' look at private state."""
    for _ in range(300):
        tasks = [pool.submit(int) for _ in range(random.randrange(1, 8))]
        assert module.wait(tasks, timeout=60).not_done == set()
    for _ in range(300):
        tasks = [pool.submit(int) for _ in range(random.randrange(1, 8))]
        assert set(module.as_completed(tasks, timeout=60)) == set(tasks)


@BOTH
def test_a_cancelled_task_counts_as_done(module, stuck, pool, gate):
    blockers = [pool.submit(gate.wait) for _ in range(2)]
    waiting = pool.submit(int)
    assert waiting.cancel()
    done, _ = module.wait([waiting, stuck], return_when=FIRST_COMPLETED)
    assert done == {waiting}
    gate.set()
    assert set(module.as_completed([waiting, stuck, *blockers])) == {waiting, stuck, *blockers}


@BOTH
def test_a_hand_made_future_that_is_cancelled_counts_once_its_maker_notices(module, pool):
    future = Future()
    future.cancel()
    assert module.wait([future], timeout=0.01).not_done == {future}
    pool.submit(future.set_running_or_notify_cancel)
    assert module.wait([future], timeout=60).done == {future}


def test_nothing_to_wait_for_is_done_at_once():
    assert wait([]) == (set(), set())
    assert list(as_completed([])) == []


def test_an_unknown_return_condition_is_refused(pool):
    with pytest.raises(ValueError, match="NEVER"):
        wait([pool.submit(int)], return_when="NEVER")


def test_many_futures_are_awaited_together(pool):
    tasks = [pool.submit(int) for _ in range(20_000)]
    assert len(wait(tasks).done) == 20_000
    assert sum(1 for _ in as_completed(tasks)) == 20_000
