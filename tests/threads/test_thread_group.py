"""`ThreadGroup`: no thread outlives its block, no failure is lost."""

import signal
import threading as standard
import time

import pytest
from manyhands import Cancelled
from manyhands.threading import Event, ThreadGroup


def burn(message="burnt"):
    raise ValueError(message)


def test_leaving_the_block_waits_for_all():
    done = []
    with ThreadGroup() as group:
        threads = [group.start(lambda n=n: (time.sleep(0.01), done.append(n))) for n in range(5)]
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert not any(thread.is_alive() for thread in threads)


def test_the_first_failure_cancels_the_others():
    left = []

    def wait():
        try:
            Event().wait()
        except Cancelled:
            left.append("cancelled")
            raise

    failed = pytest.raises(ExceptionGroup, match="'kitchen' has failed")
    with failed as caught, ThreadGroup(name="kitchen") as group:
        threads = [group.start(wait) for _ in range(3)]
        group.start(burn)
    assert [str(error) for error in caught.value.exceptions] == ["burnt"]
    assert left == ["cancelled"] * 3
    assert not any(thread.is_alive() for thread in threads)


def test_all_failures_are_told():
    gate = standard.Barrier(3)

    def burn_together(message):
        gate.wait()
        try:
            burn(message)
        except Cancelled:
            pass

    with pytest.raises(ExceptionGroup) as caught, ThreadGroup() as group:
        for message in ("one", "two", "three"):
            group.start(burn_together, message)
    messages = {str(error) for error in caught.value.exceptions}
    assert messages
    assert messages <= {"one", "two", "three"}


def test_an_exception_of_the_block_cancels_and_is_part_of_the_group():
    with pytest.raises(ExceptionGroup) as caught, ThreadGroup() as group:
        thread = group.start(Event().wait)
        raise KeyError("block")
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert not thread.is_alive()


def test_groups_nest():
    with pytest.raises(ExceptionGroup) as caught, ThreadGroup(name="outer") as outer:
        thread = outer.start(Event().wait)
        with ThreadGroup(name="inner") as inner:
            inner.start(burn)
    (inner_error,) = caught.value.exceptions
    assert isinstance(inner_error, ExceptionGroup)
    assert not thread.is_alive()


def test_threads_of_a_group_may_start_more_in_it():
    with ThreadGroup() as group:
        thread = group.start(lambda: group.start(lambda: "soup"))
    assert thread.result().result() == "soup"


@pytest.mark.parametrize("when", ["before", "after", "twice"])
def test_what_does_not_fit_the_block_is_refused(when):
    group = ThreadGroup(name="kitchen")
    if when == "before":
        with pytest.raises(RuntimeError, match="inside of its `with` block"):
            group.start(int)
        return
    with group:
        pass
    with pytest.raises(RuntimeError, match="once only" if when == "twice" else "has ended"):
        group.__enter__() if when == "twice" else group.start(int)


def test_ctrl_c_in_the_block_ends_all_and_comes_through_by_itself():
    group = ThreadGroup()
    with pytest.raises(KeyboardInterrupt), group:
        thread = group.start(Event().wait)
        signal.raise_signal(signal.SIGINT)
    assert not thread.is_alive()


def test_ctrl_c_while_waiting_for_the_threads_ends_all():
    waiting = Event()

    def wait():
        waiting.set()
        Event().wait()

    def interrupt():
        waiting.wait()
        signal.pthread_kill(standard.main_thread().ident, signal.SIGINT)

    group, threads = ThreadGroup(), []
    with pytest.raises(KeyboardInterrupt), group:
        threads.append(group.start(wait))
        threads.append(group.start(interrupt))
    assert not any(thread.is_alive() for thread in threads)
