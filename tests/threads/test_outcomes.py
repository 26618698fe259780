"""`manyhands.threading.Thread`: the standard class, and its outcome for whoever wants it."""

import contextvars
import ctypes
import gc
import threading
import time
import traceback
import weakref
from concurrent.futures import CancelledError

import pytest
from manyhands._threads import thread_stack
from manyhands.threading import Event, Thread


def fail(message="no luck"):
    raise ValueError(message)


def started(*args, **kwargs):
    thread = Thread(*args, **kwargs)
    thread.start()
    return thread


def test_the_result_is_what_the_target_returned():
    thread = started(target=lambda a, b=0: (a, b), args=(1,), kwargs={"b": 2})
    assert thread.result() == (1, 2)
    assert thread.result(timeout=0) == (1, 2)
    assert thread.exception() is None


def test_the_result_of_a_subclass_is_what_its_run_returned():
    class Sum(Thread):
        def __init__(self, numbers):
            super().__init__(name="sum")
            self.numbers = numbers

        def run(self):
            return sum(self.numbers)

    thread = Sum([1, 2, 3])
    thread.start()
    assert thread.result() == 6


def test_a_run_that_calls_its_target_gets_its_result():
    class Keeping(Thread):
        def run(self):
            self.kept = self._target(*self._args, **self._kwargs)

    thread = Keeping(target=divmod, args=(7, 2))
    thread.start()
    thread.join()
    assert thread.kept == thread.result() == (3, 1)


def test_a_thread_without_target_returns_none():
    assert started().result() is None


def test_run_called_directly_runs_the_target_here():
    seen = []
    thread = Thread(target=lambda: seen.append(threading.get_ident()))
    thread.run()
    assert seen == [threading.get_ident()]
    assert not thread.is_alive()


def test_run_assigned_to_the_object_is_what_the_thread_runs():
    thread = Thread()
    thread.run = lambda: "own"
    thread.start()
    assert thread.result() == "own"
    assert thread.run() == "own"


def test_the_run_of_a_started_thread_is_the_classes_own_again():
    thread = started(target=print)
    thread.join()
    assert "run" not in vars(thread)


def test_join_raises_what_the_thread_raised_each_time():
    thread = started(target=fail)
    for _ in range(3):
        with pytest.raises(ValueError, match="no luck"):
            thread.join()
        with pytest.raises(ValueError, match="no luck"):
            thread.result()


def test_the_traceback_shows_the_threads_frames_and_does_not_grow():
    thread = started(target=fail)
    shown = []
    for _ in range(3):
        with pytest.raises(ValueError, match="no luck") as caught:
            thread.join()
        shown.append([frame.name for frame in traceback.extract_tb(caught.value.__traceback__)])
    assert shown[0][-1] == "fail"
    assert shown[0] == shown[1] == shown[2]


def test_exception_returns_the_error_instead_of_raising_it(hooked):
    thread = started(target=fail)
    assert isinstance(thread.exception(), ValueError)
    del thread
    gc.collect()
    assert not hooked


def test_several_threads_may_join_one_that_failed():
    release = Event()

    def wait_and_fail():
        release.wait()
        fail()

    failing = started(target=wait_and_fail)
    joiners = [started(target=failing.join) for _ in range(4)]
    release.set()
    assert all(isinstance(joiner.exception(), ValueError) for joiner in joiners)


def test_join_with_a_timeout_returns_while_the_thread_runs():
    release = Event()
    thread = started(target=release.wait)
    try:
        assert thread.join(0.01) is None
        assert thread.join(-1) is None
        assert thread.is_alive()
        with pytest.raises(TimeoutError, match="still runs"):
            thread.result(timeout=0.01)
        with pytest.raises(TimeoutError, match="still runs"):
            thread.exception(timeout=0)
    finally:
        release.set()
    assert thread.result() is True


def test_what_the_standard_class_refuses_is_refused():
    thread = Thread(target=print, args=("",), kwargs={"end": ""})
    for early in (thread.join, thread.result, thread.exception):
        with pytest.raises(RuntimeError, match="before it is started"):
            early()
    assert thread.cancel() is False
    thread.start()
    with pytest.raises(RuntimeError, match="only be started once"):
        thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="only be started once"):
        thread.start()
    with pytest.raises(RuntimeError, match="cannot set daemon"):
        started(target=lambda: setattr(threading.current_thread(), "daemon", True)).join()
    with pytest.raises(RuntimeError, match="cannot join current thread"):
        started(target=lambda: threading.current_thread().join()).join()


def test_a_thread_that_cannot_be_started_is_as_before(monkeypatch):
    thread = Thread(target=lambda: "later")
    name = "_start_joinable_thread"
    if not hasattr(threading, name):
        name = "_start_new_thread"

    def refuse(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading, name, refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            thread.start()
    assert not thread.is_alive()
    assert "run" not in vars(thread)
    thread.start()
    assert thread.result() == "later"


def test_names_daemons_and_numbers_are_as_in_the_standard_class():
    thread = Thread(target=fail, daemon=True)
    assert thread.name.endswith("(fail)")
    assert thread.daemon
    assert thread.ident is None
    assert isinstance(thread, threading.Thread)
    assert Thread.__module__ == "manyhands.threading"
    seen = []

    def look():
        current = threading.current_thread()
        seen.append((current, current.ident, current.native_id, current.name))

    thread = started(target=look, name="looker")
    thread.join()
    assert seen == [(thread, thread.ident, thread.native_id, "looker")]
    assert repr(thread) == f"<Thread(looker, stopped {thread.ident})>"


def test_a_thread_without_propagation_is_the_standard_one(hooked):
    thread = started(target=fail, propagate=False)
    assert thread.join() is None
    assert [call.exc_type for call in hooked] == [ValueError]
    assert hooked[0].thread is thread
    with pytest.raises(ValueError, match="no luck"):
        thread.result()


def test_system_exit_ends_a_thread_quietly(hooked):
    def leave():
        raise SystemExit(3)

    thread = started(target=leave)
    assert thread.join() is None
    assert thread.result() is None
    assert thread.exception() is None
    del thread
    gc.collect()
    assert not hooked


def test_an_exception_that_is_no_exception_class_reaches_the_joiner():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        started(target=interrupted).join()


def test_the_context_given_is_the_one_the_body_runs_in():
    variable = contextvars.ContextVar("variable", default="nothing")
    context = contextvars.copy_context()
    context.run(variable.set, "something")
    assert started(target=variable.get, context=context).result() == "something"


@pytest.mark.parametrize("size", [1, -1, 1000, 2**63])
def test_a_stack_size_that_cannot_be_is_refused_at_once(size):
    before = threading.stack_size()
    with pytest.raises((ValueError, OverflowError)):
        Thread(stack_size=size)
    assert threading.stack_size() == before
    with pytest.raises(TypeError):
        Thread(stack_size="large")


def stack_bytes():
    """The size of the calling thread's stack, as the C library knows it.

    It may give a thread an old stack that is up to four times as large as asked for.
    """
    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t()
    libc.pthread_self.restype = ctypes.c_void_p
    myself = ctypes.c_void_p(libc.pthread_self())
    assert libc.pthread_getattr_np(myself, attributes) == 0
    assert libc.pthread_attr_getstacksize(attributes, ctypes.byref(size)) == 0
    libc.pthread_attr_destroy(attributes)
    return size.value


def test_the_stack_size_is_that_threads_only():
    size = 256 * 1024
    assert started(target=stack_bytes).result() > 4 * size
    assert size <= started(target=stack_bytes, stack_size=size).result() <= 4 * size
    assert started(target=stack_bytes).result() > 4 * size


def test_many_threads_with_sizes_and_without_start_at_once():
    before = threading.stack_size()

    def start_some(size):
        for _ in range(20):
            started(target=print, kwargs={"end": ""}, stack_size=size).join()

    starters = [started(target=start_some, args=(size,)) for size in (None, 2**16, None, 2**20)]
    for starter in starters:
        starter.join()
    assert threading.stack_size() == before


def test_a_thread_may_be_started_while_another_one_is_by_the_same_thread():
    # As a signal handler does.
    sizes = []

    def start_another():
        sizes.append(started(target=stack_bytes).result())
        sizes.append(started(target=stack_bytes, stack_size=64 * 1024 * 1024).result())

    thread_stack.start(start_another, 256 * 1024)
    assert sizes[1] >= 64 * 1024 * 1024


def test_processor_time_is_counted_while_it_runs_and_kept_afterwards():
    release = Event()
    busy = Event()

    def work():
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        busy.set()
        release.wait()

    thread = Thread(target=work)
    assert thread.cpu_time == 0.0
    thread.start()
    busy.wait()
    so_far = thread.cpu_time
    assert so_far >= 0.05
    release.set()
    thread.join()
    assert thread.cpu_time >= so_far
    assert thread.cpu_time == thread.cpu_time


def test_a_subclass_may_use_the_added_names_for_itself():
    class Own(Thread):
        def __init__(self):
            super().__init__()
            self.result = self.exception = self.cpu_time = self.cancel = None

        def run(self):
            self.result = "mine"

    thread = Own()
    thread.start()
    thread.join()
    assert thread.result == "mine"
    assert thread.cpu_time is None


def test_nothing_keeps_what_a_thread_worked_on():
    class Dish:
        pass

    dish = Dish()
    gone = weakref.ref(dish)
    thread = started(target=lambda dish: None, args=(dish,))
    del dish
    thread.join()
    assert gone() is None


def test_a_thread_object_that_ended_well_goes_with_its_last_reference():
    thread = started(target=print, kwargs={"end": ""})
    thread.join()
    gone = weakref.ref(thread)
    gc.disable()
    try:
        del thread
        assert gone() is None
    finally:
        gc.enable()


def test_a_trace_function_that_raises_does_not_leave_joiners_waiting(hooked):
    class Quit(Exception):
        pass

    def trace(frame, event, argument):
        raise Quit

    threading.settrace(trace)
    try:
        thread = started(target=print)
    finally:
        threading.settrace(None)
    try:
        thread.join()
    except Quit:
        pass
    assert not thread.is_alive()


def test_a_cancelled_thread_has_no_result():
    thread = started(target=Event().wait)
    assert thread.cancel()
    assert thread.join() is None
    for ask in (thread.result, thread.exception):
        with pytest.raises(CancelledError, match="was cancelled"):
            ask()
