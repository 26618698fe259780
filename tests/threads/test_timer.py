"""`Timer`: later, or not at all."""

import pytest
from manyhands.threading import Event, Timer


def test_a_timer_calls_its_function_with_its_arguments():
    calls = []
    timer = Timer(0.01, lambda *args, **kwargs: calls.append((args, kwargs)), [1], {"two": 2})
    timer.start()
    timer.join()
    assert calls == [((1,), {"two": 2})]
    assert timer.finished.is_set()


def test_a_cancelled_timer_ends_without_a_call():
    called = Event()
    timer = Timer(3600, called.set)
    timer.start()
    timer.cancel()
    timer.join()
    assert not called.is_set()


def test_a_timer_that_was_cancelled_before_it_started_does_nothing():
    called = Event()
    timer = Timer(0, called.set)
    timer.cancel()
    timer.start()
    timer.join()
    assert not called.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_of_the_function_does_not_reach_the_joiner():
    timer = Timer(0, lambda: 1 / 0)
    timer.start()
    timer.join()
    with pytest.raises(ZeroDivisionError):
        timer.result()
