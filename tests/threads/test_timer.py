"""`Timer`: as the standard one."""

import threading

import pytest
from manyhands.threading import Event, Timer


def test_the_function_is_called_with_its_arguments():
    called = []
    timer = Timer(0.01, lambda *args, **kwargs: called.append((args, kwargs)), [1], {"b": 2})
    timer.start()
    timer.join()
    assert called == [((1,), {"b": 2})]
    assert timer.finished.is_set()


def test_a_cancelled_timer_calls_nothing():
    timer = Timer(3600, pytest.fail)
    timer.start()
    timer.cancel()
    timer.join()
    assert timer.finished.is_set()


def test_a_timer_may_be_cancelled_before_it_is_started():
    timer = Timer(3600, pytest.fail)
    timer.cancel()
    timer.start()
    timer.join()


def test_cancelling_does_not_stop_a_function_that_runs():
    begun, release = Event(), Event()
    timer = Timer(0, lambda: begun.set() or release.wait())
    timer.start()
    begun.wait()
    timer.cancel()
    assert timer.is_alive()
    release.set()
    timer.join()


def test_an_error_of_the_function_goes_to_the_hook_at_once(hooked):
    timer = Timer(0, lambda: 1 / 0)
    timer.start()
    timer.join()
    assert [call.exc_type for call in hooked] == [ZeroDivisionError]


def test_default_arguments_are_not_shared():
    first, second = Timer(1, print), Timer(1, print)
    first.args.append("x")
    first.kwargs["x"] = 1
    assert second.args == []
    assert second.kwargs == {}


def test_it_says_what_it_will_call_when():
    timer = Timer(1.5, print)
    assert repr(timer) == f"<Timer({timer.name}, initial) calls print after 1.5 s>"
    timer.cancel()
    assert repr(timer).endswith("after 1.5 s, cancelled or over>")


def test_a_subclass_may_override_the_run_and_stay_a_thread():
    class Repeating(Timer):
        def run(self):
            self.count = 0
            while not self.finished.wait(self.interval):
                self.count += 1
                self.function(self.count)

    def count(n):
        if n == 3:
            timer.cancel()

    timer = Repeating(0.001, count)
    timer.start()
    timer.join()
    assert timer.count == 3
    assert isinstance(timer, threading.Thread)
