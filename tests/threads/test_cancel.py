"""`Thread.cancel()` reaches the thread's body wherever it is, and nothing after it."""

import sys
import threading
import time

import pytest
from manyhands import Cancelled
from manyhands.threading import Barrier, Condition, Event, Lock, RLock, Semaphore, Thread


def started(*args, **kwargs):
    thread = Thread(*args, **kwargs)
    thread.start()
    return thread


@pytest.fixture
def quick_switches():
    """Threads change places after a microsecond: what can race does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def is_cancelled(thread):
    from concurrent.futures import CancelledError

    thread.join()
    try:
        thread.result()
    except CancelledError:
        return True
    return False


def spin(begun):
    begun.set()
    while True:
        pass


def test_a_body_of_bytecode_is_cancelled():
    begun = Event()
    thread = started(target=spin, args=(begun,))
    begun.wait()
    assert thread.cancel()
    assert is_cancelled(thread)


def held(lock):
    lock.acquire()
    return lock.acquire


BLOCKING = {
    "lock": lambda: held(Lock()),
    "semaphore": lambda: Semaphore(0).acquire,
    "event": lambda: Event().wait,
    "event with a timeout": lambda: lambda: Event().wait(3600),
    "barrier": lambda: Barrier(2).wait,
    "join": lambda: threading.main_thread().join,
}


def wait_on_condition():
    with (condition := Condition()):
        condition.wait()


BLOCKING["condition"] = lambda: wait_on_condition


@pytest.mark.parametrize("kind", BLOCKING)
def test_a_body_that_waits_is_cancelled(kind):
    if kind == "join":
        release = Event()
        target = started(target=release.wait)
        thread = started(target=target.join)
    else:
        thread = started(target=BLOCKING[kind]())
    time.sleep(0.02)  # It may wait by then, or not yet: both must work.
    assert thread.cancel()
    assert is_cancelled(thread)
    if kind == "join":
        release.set()
        target.join()


def test_a_lock_that_another_thread_holds_is_not_taken_by_a_cancelled_wait():
    lock = RLock()
    with lock:
        thread = started(target=lock.acquire)
        time.sleep(0.02)
        assert thread.cancel()
        assert is_cancelled(thread)
    with lock:
        pass


@pytest.mark.usefixtures("quick_switches")
def test_a_cancel_right_after_the_start_counts():
    for _ in range(500):
        thread = started(target=Event().wait)
        assert thread.cancel()
        assert is_cancelled(thread)


@pytest.mark.usefixtures("quick_switches")
def test_a_cancel_at_any_moment_leaves_an_outcome():
    for _ in range(500):
        thread = started(target=sum, args=(range(100),))
        was_reached = thread.cancel()
        if is_cancelled(thread):
            assert was_reached
        else:
            assert thread.result() == 4950


# CPython may raise the cancel in a callback of a weak reference, which it then only mentions.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("quick_switches")
def test_an_error_raised_at_the_moment_of_a_cancel_is_not_lost():
    for _ in range(500):
        thread = started(target=divmod, args=(1, 0))
        thread.cancel()
        if not is_cancelled_or_failed(thread):
            pytest.fail("neither cancelled nor failed")


def is_cancelled_or_failed(thread):
    try:
        return is_cancelled(thread)
    except ZeroDivisionError:
        return True


def test_a_body_may_clean_up():
    begun, cleaned = Event(), []

    def body():
        try:
            spin(begun)
        finally:
            cleaned.append("up")

    thread = started(target=body)
    begun.wait()
    thread.cancel()
    assert is_cancelled(thread)
    assert cleaned == ["up"]


def test_a_body_that_swallows_the_cancel_returns_what_it_returns_and_can_be_cancelled_again():
    begun, again = Event(), Event()

    def body():
        try:
            spin(begun)
        except Cancelled:
            pass
        try:
            spin(again)
        except Cancelled:
            return "stubborn"

    thread = started(target=body)
    begun.wait()
    assert thread.cancel()
    again.wait()
    assert thread.cancel()
    assert thread.result() == "stubborn"


def test_except_exception_does_not_swallow_it():
    begun = Event()

    def body():
        while True:
            try:
                spin(begun)
            except Exception:
                pass

    thread = started(target=body)
    begun.wait()
    thread.cancel()
    assert is_cancelled(thread)


def test_what_has_ended_cannot_be_cancelled():
    thread = started(target=int)
    thread.join()
    assert thread.cancel() is False
    assert thread.result() == 0


def test_a_cancelled_thread_is_no_error_for_the_hook(hooked):
    for propagate in (True, False):
        thread = started(target=Event().wait, propagate=propagate)
        assert thread.cancel()
        assert thread.join() is None
    del thread
    assert not hooked


def test_the_hook_itself_is_never_cancelled(monkeypatch):
    in_hook, finish, finished = Event(), Event(), []

    def hook(args):
        in_hook.set()
        finish.wait()
        finished.append(args.exc_type)

    monkeypatch.setattr(threading, "excepthook", hook)
    thread = started(target=divmod, args=(1, 0), propagate=False)
    in_hook.wait()
    assert thread.cancel() is False
    assert thread.join(0.02) is None
    assert thread.is_alive()
    finish.set()
    thread.join()
    assert finished == [ZeroDivisionError]


def test_cancels_that_come_too_late_leave_nothing_for_a_trace_function_to_trip_over(run_program):
    # On 3.11 a traced call never ends while the interpreter looks out for an exception that was
    # taken back.
    out, _ = run_program("""
        import sys
        from manyhands.futures import ThreadPoolExecutor
        from manyhands.threading import Thread

        sys.setswitchinterval(1e-6)
        for _ in range(300):
            thread = Thread(target=sum, args=(range(100),))
            thread.start()
            thread.cancel()
            thread.join()
        with ThreadPoolExecutor(1) as pool:
            for _ in range(300):
                pool.submit(sum, range(100)).cancel(running=True)

        def traced():
            return "done"

        for _ in range(100):
            traced()
        sys.settrace(lambda *_: None)
        done = traced()
        sys.settrace(None)
        print(done)
    """)
    assert out == "done\n"
