"""`ThreadGroup`: threads that live no longer than a block; what fails in it is told at its end."""

import os
import signal
import threading
import time
import traceback
from concurrent.futures import CancelledError

import pytest
from manyhands.threading import Event, Semaphore, Thread, ThreadGroup


def fail(message="no luck"):
    raise ValueError(message)


def messages(group):
    return [str(error) for error in group.exceptions]


def test_the_results_are_there_when_the_block_has_ended():
    with ThreadGroup() as group:
        threads = [group.start(divmod, n, 2) for n in range(10)]
    assert [thread.result(timeout=0) for thread in threads] == [divmod(n, 2) for n in range(10)]
    assert not any(thread.is_alive() for thread in threads)


def test_arguments_of_any_name_reach_the_function():
    with ThreadGroup(name="own") as group:
        thread = group.start(dict, name="x", function="y", self="z")
    assert thread.result() == {"name": "x", "function": "y", "self": "z"}
    assert thread.name == "own-1 (dict)"


def test_the_first_failure_cancels_the_siblings_while_the_block_runs_on():
    with pytest.raises(ExceptionGroup) as caught, ThreadGroup(name="kitchen") as group:
        siblings = [group.start(Event().wait) for _ in range(3)]
        failing = group.start(fail)
        for sibling in siblings:
            while sibling.is_alive():
                time.sleep(0.001)
    assert messages(caught.value) == ["no luck"]
    assert "'kitchen' has failed" in str(caught.value)
    for sibling in siblings:
        with pytest.raises(CancelledError):
            sibling.result()
    assert isinstance(failing.exception(), ValueError)


def test_all_that_fail_are_told_of_the_first_to_fail_first():
    both = Semaphore(0)

    def fail_after(other, name):
        if other is not None:
            try:
                other.wait()
            finally:
                fail(name)
        fail(name)

    with pytest.raises(ExceptionGroup) as caught, ThreadGroup() as group:
        group.start(fail_after, Event(), "second")
        both.release()
        group.start(fail_after, None, "first")
    assert messages(caught.value) == ["first", "second"]


def test_an_exception_of_the_block_cancels_all_and_comes_first():
    def fail_when_cancelled():
        try:
            Event().wait()
        finally:
            fail("thread")

    with pytest.raises(ExceptionGroup) as caught, ThreadGroup() as group:
        begun = Event()
        group.start(lambda: begun.set() or fail_when_cancelled())
        begun.wait()
        raise KeyError("block")
    assert messages(caught.value) == ["'block'", "thread"]


def test_what_is_no_exception_makes_a_base_exception_group():
    def leave():
        raise GeneratorExit

    with pytest.raises(BaseExceptionGroup) as caught, ThreadGroup() as group:
        group.start(leave)
    assert not isinstance(caught.value, ExceptionGroup)


def test_a_thread_that_exits_is_no_failure():
    def leave():
        raise SystemExit

    with ThreadGroup() as group:
        group.start(leave)
        assert group.start(int).result() == 0


def test_ctrl_c_in_the_block_cancels_all_and_propagates_by_itself():
    with pytest.raises(KeyboardInterrupt), ThreadGroup() as group:
        thread = group.start(Event().wait)
        raise KeyboardInterrupt
    with pytest.raises(CancelledError):
        thread.result()


def test_ctrl_c_while_the_end_of_the_block_waits_cancels_all():
    def interrupt():
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    helper = Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt), ThreadGroup() as group:
        threads = [group.start(Event().wait) for _ in range(3)]
        helper.start()
    helper.join()
    assert not any(thread.is_alive() for thread in threads)


def test_threads_may_start_more_threads_of_their_group():
    def cook(group, depth):
        if depth:
            for _ in range(2):
                group.start(cook, group, depth - 1)
        return depth

    with ThreadGroup() as group:
        group.start(cook, group, 4)
    assert repr(group).endswith("closed, 0 of 31 threads alive>")


def test_a_group_that_is_not_open_starts_nothing():
    group = ThreadGroup()
    with pytest.raises(RuntimeError, match="inside of its `with` block"):
        group.start(print)
    with group:
        pass
    with pytest.raises(RuntimeError, match="its block has ended"):
        group.start(print)
    with pytest.raises(RuntimeError, match="once only"), group:
        pass


def test_what_is_started_in_a_cancelled_group_calls_nothing():
    called = []
    with ThreadGroup() as group:
        group.cancel()
        threads = [group.start(called.append, n) for n in range(10)]
    assert not called
    for thread in threads:
        with pytest.raises(CancelledError):
            thread.result()


def test_a_block_that_starts_threads_after_a_failure_tells_only_the_failure():
    with pytest.raises(ExceptionGroup) as caught, ThreadGroup() as group:
        failing = group.start(fail)
        while failing.is_alive():
            time.sleep(0.001)
        for _ in range(3):
            group.start(Event().wait)
    assert messages(caught.value) == ["no luck"]


def test_an_inner_group_is_cancelled_with_its_thread():
    inner_threads = []
    begun = Event()

    def inner():
        with ThreadGroup() as group:
            inner_threads.extend(group.start(Event().wait) for _ in range(3))
            begun.set()

    with pytest.raises(ExceptionGroup) as caught, ThreadGroup() as group:
        outer = group.start(inner)
        begun.wait()
        group.start(fail)
    assert messages(caught.value) == ["no luck"]
    with pytest.raises(CancelledError):
        outer.result()
    assert not any(thread.is_alive() for thread in inner_threads)


def test_an_inner_groups_failure_is_nested_in_the_outer_one():
    def inner():
        with ThreadGroup(name="inner") as group:
            group.start(fail)

    with pytest.raises(ExceptionGroup) as caught, ThreadGroup(name="outer") as group:
        group.start(inner)
    (nested,) = caught.value.exceptions
    assert messages(nested) == ["no luck"]


def test_no_failure_is_lost_when_all_fail_at_once():
    for _ in range(50):
        with pytest.raises(ExceptionGroup) as caught, ThreadGroup() as group:
            gate = Event()
            threads = [group.start(lambda gate=gate: gate.wait() and fail()) for _ in range(8)]
            gate.set()
        told = len(caught.value.exceptions)
        cancelled = sum(is_cancelled(thread) for thread in threads)
        assert told + cancelled == 8
        assert told >= 1


def is_cancelled(thread):
    try:
        thread.exception()
    except CancelledError:
        return True
    return False


def test_what_the_group_told_is_not_told_again_by_the_hook(hooked):
    import gc

    with pytest.raises(ExceptionGroup), ThreadGroup() as group:
        group.start(fail)
    del group
    gc.collect()
    assert not hooked


def test_the_traceback_of_a_failure_shows_where_it_happened():
    with pytest.raises(ExceptionGroup) as caught, ThreadGroup() as group:
        group.start(fail)
    (error,) = caught.value.exceptions
    assert traceback.extract_tb(error.__traceback__)[-1].name == "fail"


def test_a_thread_that_cannot_be_started_is_an_error_of_the_block(monkeypatch):
    name = "_start_joinable_thread"
    if not hasattr(threading, name):
        name = "_start_new_thread"

    def refuse(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    with pytest.raises(ExceptionGroup) as caught, ThreadGroup() as group:
        other = group.start(Event().wait)
        monkeypatch.setattr(threading, name, refuse)
        group.start(print)
    assert messages(caught.value) == ["can't start new thread"]
    assert not other.is_alive()


def test_a_second_ctrl_c_leaves_a_block_that_cannot_end():
    release = threading.Lock()  # A standard one: no cancel reaches a wait for it.
    release.acquire()

    def interrupt():
        for _ in range(2):
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)

    helper = Thread(target=interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), ThreadGroup() as group:
            stuck = group.start(release.acquire)
            helper.start()
        assert stuck.is_alive()
    finally:
        release.release()
    helper.join()
    stuck.join()
