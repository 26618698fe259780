"""`manyhands.threading.Thread`: outcome, cancel, stack and time of a thread."""

import concurrent.futures
import contextvars
import gc
import sys
import threading as standard
import time
import traceback
import weakref

import pytest
from manyhands import Cancelled
from manyhands.threading import (
    Barrier,
    Condition,
    Event,
    Lock,
    RLock,
    RwLock,
    Semaphore,
    Thread,
    deadlock_mode,
    set_deadlock_mode,
)


@pytest.fixture
def shown(monkeypatch):
    """What `threading.excepthook` was called with."""
    calls = []
    monkeypatch.setattr(standard, "excepthook", calls.append)
    return calls


def burn(message="burnt"):
    raise ValueError(message)


def ended(thread):
    while thread.is_alive():
        time.sleep(0.001)


def test_a_thread_gives_what_its_target_returned():
    thread = Thread(target=sum, args=([1, 2, 3],), name="bill")
    thread.start()
    assert thread.result(timeout=60) == 6
    assert thread.exception() is None
    assert (thread.name, thread.daemon, thread.is_alive()) == ("bill", False, False)


def test_a_subclass_gives_what_its_run_returned():
    class Cook(Thread):
        def run(self):
            return self.name

    thread = Cook(name="anna")
    thread.start()
    assert thread.result() == "anna"


def test_a_subclass_that_calls_the_run_above_gives_what_the_target_returned():
    class Cook(Thread):
        def run(self):
            super().run()

    thread = Cook(target=lambda: "soup")
    thread.start()
    assert thread.result() == "soup"


def test_whoever_joins_gets_the_exception_each_time(shown):
    thread = Thread(target=burn)
    thread.start()
    for _ in range(3):
        with pytest.raises(ValueError, match="burnt") as caught:
            thread.join()
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert names.count("burn") == 1
        assert names.index("burn") <= 4, "the traceback grows with each joiner"
    with pytest.raises(ValueError, match="burnt"):
        thread.result()
    assert isinstance(thread.exception(), ValueError)
    del thread, caught
    gc.collect()
    assert shown == []


def test_an_exception_that_nobody_took_is_shown_when_the_thread_goes(shown):
    thread = Thread(target=burn, name="anna")
    thread.start()
    ended(thread)
    assert shown == [], "it may still be joined"
    del thread
    gc.collect()
    assert [call.exc_type for call in shown] == [ValueError]
    assert shown[0].thread.name == "anna"


def test_an_exception_that_nobody_took_is_shown_at_the_end_of_the_program(run):
    finished = run("""
        from manyhands.threading import Thread
        thread = Thread(target=lambda: 1 / 0, name="anna")
        thread.start()
    """)
    assert finished.returncode == 0
    assert finished.stderr.count("Exception in thread anna:") == 1
    assert finished.stderr.count("ZeroDivisionError: division by zero") == 1


def test_without_propagation_the_hook_gets_it_at_once(shown):
    thread = Thread(target=burn, propagate=False)
    thread.start()
    assert thread.join() is None
    assert [call.exc_type for call in shown] == [ValueError]
    with pytest.raises(ValueError, match="burnt"):
        thread.result()


def test_an_exit_in_a_thread_is_quiet(shown):
    thread = Thread(target=lambda: sys.exit(3))
    thread.start()
    thread.join()
    assert (thread.result(), shown) == (None, [])


def test_a_result_that_does_not_come_in_time_is_a_timeout():
    gate = Event()
    thread = Thread(target=gate.wait)
    thread.start()
    with pytest.raises(TimeoutError, match="still runs"):
        thread.result(timeout=0.01)
    thread.join(timeout=0.01)
    assert thread.is_alive()
    gate.set()
    assert thread.result() is True


@pytest.mark.parametrize("ask", [Thread.join, Thread.result, Thread.exception])
def test_a_thread_that_was_not_started_cannot_be_waited_for(ask):
    with pytest.raises(RuntimeError, match="before it is started"):
        ask(Thread(target=print))


def test_a_thread_cannot_wait_for_itself():
    thread = Thread(target=lambda: thread.join())  # noqa: PLW0108 - not made yet
    thread.start()
    with pytest.raises(RuntimeError, match="current thread"):
        thread.result()


def test_a_thread_starts_once():
    thread = Thread(target=int)
    thread.start()
    with pytest.raises(RuntimeError, match="only be started once"):
        thread.start()
    assert thread.result() == 0


def test_a_direct_call_of_run_is_the_standard_one():
    calls = []
    Thread(target=calls.append, args=(1,)).run()
    assert calls == [1]


def test_nothing_refers_to_what_a_finished_thread_worked_on():
    class Dish:
        pass

    dish = Dish()
    gone = weakref.ref(dish)
    thread = Thread(target=lambda dish: None, args=(dish,))
    thread.start()
    thread.join()
    del dish
    assert gone() is None
    thread_gone = weakref.ref(thread)
    del thread
    gc.collect()
    assert thread_gone() is None


def spin():
    while True:
        pass


def of_lock(make):
    def wait():
        lock = make()
        lock.acquire()
        lock.acquire()

    return wait


def of_condition():
    condition = Condition()
    with condition:
        condition.wait()


def of_writer():
    lock = RwLock()
    lock.acquire_read()
    lock.acquire_write()


WAITS = {
    "a loop": spin,
    "an event": lambda: Event().wait(),
    "a timed wait": lambda: Event().wait(3600),
    "a lock": of_lock(Lock),
    "a semaphore": of_lock(Semaphore),
    "a condition": of_condition,
    "a barrier": lambda: Barrier(2).wait(),
    "a writer": of_writer,
}


@pytest.fixture
def unwatched():
    """Nobody looks for deadlocks: a wait in these tests ends by a cancel."""
    before = deadlock_mode()
    set_deadlock_mode("off")
    yield
    set_deadlock_mode(before)


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_a_cancel_ends(wait):
    started, left = Event(), []

    def body():
        try:
            started.set()
            wait()
        except Cancelled:
            left.append("cancelled")
            raise
        finally:
            left.append("cleaned up")

    thread = Thread(target=body)
    thread.start()
    started.wait()
    assert thread.cancel() is True
    thread.join()
    assert left == ["cancelled", "cleaned up"]
    with pytest.raises(concurrent.futures.CancelledError):
        thread.result()
    assert thread.cancel() is False


def test_a_cancel_ends_the_wait_for_a_lock_that_another_thread_holds():
    lock, waiting = RLock(), Event()

    def take():
        waiting.set()
        with lock:
            pass

    thread = Thread(target=take)
    with lock:
        thread.start()
        waiting.wait()
        thread.cancel()
        thread.join()
    assert lock.acquire(blocking=False), "it was not taken by who was cancelled"
    lock.release()


def test_a_cancel_never_reaches_what_comes_after_the_body():
    """The thread is cancelled at every moment of its short life; its hooks never see it."""
    surprises = []
    for n in range(300):
        done = []
        thread = Thread(target=lambda done=done: done.append(1), propagate=False)
        thread.start()
        for _ in range(n % 7):
            pass
        was_cancelled = thread.cancel()
        thread.join()
        try:
            thread.result()
        except concurrent.futures.CancelledError:
            if not was_cancelled:
                surprises.append("cancelled without a cancel")
        except BaseException as error:
            surprises.append(error)
    assert surprises == []


def test_a_cancel_before_the_start_does_nothing():
    thread = Thread(target=lambda: "soup")
    assert thread.cancel() is False
    thread.start()
    assert thread.result() == "soup"


def test_the_stack_has_the_size_asked_for():
    def depth(n=0):
        try:
            return depth(n + 1)
        except RecursionError:
            return n

    thread = Thread(target=depth, stack_size=16 * 1024 * 1024)
    before = standard.stack_size()
    thread.start()
    assert thread.result() > 100
    assert standard.stack_size() == before


@pytest.mark.parametrize("size", [1, 4096, -1])
def test_a_stack_that_is_too_small_is_refused_at_once(size):
    before = standard.stack_size()
    with pytest.raises(ValueError, match="size"):
        Thread(target=int, stack_size=size)
    assert standard.stack_size() == before


def test_the_processor_time_of_a_thread_is_known_while_it_runs_and_after():
    gate, worked = Event(), Event()

    def work():
        sum(range(1_000_000))
        worked.set()
        gate.wait()

    thread = Thread(target=work)
    assert thread.cpu_time == 0.0
    thread.start()
    worked.wait()
    during = thread.cpu_time
    gate.set()
    thread.join()
    assert 0.0 < during <= thread.cpu_time
    assert thread.cpu_time == thread.cpu_time


def test_a_thread_runs_in_the_context_it_was_given():
    variable = contextvars.ContextVar("variable", default="default")
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    thread = Thread(target=variable.get, context=context)
    thread.start()
    assert thread.result() == "given"


def test_it_is_a_standard_thread_for_those_who_look():
    thread = Thread(target=standard.current_thread)
    assert isinstance(thread, standard.Thread)
    thread.start()
    assert thread.result() is thread


def test_a_daemon_blocked_for_ever_does_not_hold_the_program_up(run):
    finished = run("""
        import time
        from manyhands.threading import Event, Lock, Thread, set_deadlock_mode
        set_deadlock_mode("off")
        lock = Lock(); lock.acquire()
        for wait in (Event().wait, lock.acquire, lambda: time.sleep(3600)):
            Thread(target=wait, daemon=True).start()
        print("end")
    """)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "end\n", "")
