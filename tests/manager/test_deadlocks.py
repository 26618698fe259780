"""A locked block of a managed container is a lock: who would wait for ever is told."""

import threading

import pytest
from manyhands import multiprocessing
from manyhands.multiprocessing import Manager
from manyhands.multiprocessing.synchronize import Lock
from manyhands.threading import DeadlockError


@pytest.fixture
def manager():
    with Manager() as manager:
        yield manager


@pytest.fixture(params=["dict", "list"])
def pair(request, manager):
    """Two containers, each with the item 0."""
    if request.param == "dict":
        return manager.dict({0: 0}), manager.dict({0: 0})
    return manager.list([0]), manager.list([0])


def cross(first, second, both):
    """What a thread is told that enters a block of `first`, then uses `second`."""
    try:
        with first.locked():
            both.wait()
            second[0]
    except DeadlockError as error:
        return str(error)
    return None


def told(*bodies):
    """What bodies that run at the same time return, without None."""
    results = []
    threads = [threading.Thread(target=lambda body=body: results.append(body())) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(bodies)
    return [result for result in results if result is not None]


def test_of_two_threads_that_cross_one_is_told_and_the_other_goes_on(pair):
    left, right = pair
    both = threading.Barrier(2)
    [report] = told(lambda: cross(left, right, both), lambda: cross(right, left, both))
    assert report.startswith("deadlock: 2 threads wait for each other, each for the next.")
    kind = "dict" if hasattr(left, "keys") else "list"
    assert report.count(f"holds managed {kind} 0x") == 2
    assert report.count(f"waits for managed {kind} 0x") == 2
    assert report.count("test_deadlocks.py:") == 4
    left[0], right[0] = 1, 2
    assert (left[0], right[0]) == (1, 2)


def test_a_locked_block_inside_another_ones_is_told_too(pair):
    left, right = pair
    both = threading.Barrier(2)

    def nest(first, second):
        try:
            with first.locked():
                both.wait()
                with second.locked():
                    return None
        except DeadlockError:
            return "told"

    assert told(lambda: nest(left, right), lambda: nest(right, left)) == ["told"]


def test_functions_of_update_item_that_cross_are_told(manager):
    left, right = manager.dict({0: 0}), manager.dict({0: 0})
    both = threading.Barrier(2)

    def update(mine, other):
        def change(value):
            both.wait()
            return value + 1 + other[0]

        try:
            mine.update_item(0, change)
        except DeadlockError:
            return "told"
        return None

    assert told(lambda: update(left, right), lambda: update(right, left)) == ["told"]
    assert sorted([left[0], right[0]]) == [0, 1]


def test_a_container_and_a_shared_lock_may_be_two_parts_of_a_deadlock(pair):
    container, lock, both = pair[0], Lock(name="salt"), threading.Barrier(2)

    def container_first():
        try:
            with container.locked():
                both.wait()
                with lock:
                    return None
        except DeadlockError as error:
            return str(error)

    def lock_first():
        try:
            with lock:
                both.wait()
                container[0]
        except DeadlockError as error:
            return str(error)
        return None

    [report] = told(container_first, lock_first)
    assert 'shared Lock "salt"' in report
    assert "managed" in report


def cross_in_process(first, second, both, told):
    if cross(first, second, both) is not None:
        told.put("told")


def test_of_two_processes_that_cross_one_is_told(pair):
    left, right = pair
    both, queue = multiprocessing.Barrier(2), multiprocessing.Queue()
    processes = [
        multiprocessing.Process(target=cross_in_process, args=(*order, both, queue))
        for order in [(left, right), (right, left)]
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert queue.get() == "told"
    assert queue.empty()


def test_who_uses_a_container_in_its_own_block_waits_for_nobody(pair):
    container = pair[0]
    with container.locked(), container.locked():
        container[0] += 1
        assert container[0] == 1
        assert len(container) == 1


def test_blocks_in_one_order_and_waits_with_a_timeout_are_never_told(pair):
    left, right = pair
    entered, leave = threading.Event(), threading.Event()

    def patient():
        with left.locked():
            entered.set()
            leave.wait()

    def impatient():
        entered.wait()
        try:
            with left.locked(timeout=0.3), right.locked():
                return None
        except TimeoutError:
            return "timed out"
        finally:
            leave.set()

    assert told(patient, impatient) == ["timed out"]
