"""A process from its start to its end, by every start method."""

import os
import select
import signal
import sys
import threading
import time

import manyhands
import pytest
from manyhands import multiprocessing
from manyhands.futures import CancelledError
from manyhands.threading import Thread

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def wait_for_ever(sentinel=None):
    threading.Event().wait()


def raise_it(error):
    raise error


class Squares(multiprocessing.Process):
    def __init__(self, number):
        super().__init__(name=f"square of {number}")
        self.number = number

    def run(self):
        return self.number**2


def started(context, target, *args, **options):
    process = context.Process(target=target, args=args, **options)
    process.start()
    return process


def test_a_process_runs_its_target_and_says_how_it_ended(context):
    process = context.Process(target=pow, args=(2,), kwargs={"exp": 10}, name="cook")
    assert (process.exitcode, process.pid, process.is_alive()) == (None, None, False)
    assert "initial" in repr(process)
    process.start()
    process.join()
    assert (process.exitcode, process.is_alive(), process.name) == (0, False, "cook")
    assert process.result() == 1024
    assert process.exception is None
    assert "stopped" in repr(process)
    process.close()
    with pytest.raises(ValueError, match="closed"):
        process.join()


def test_a_lambda_and_a_local_class_may_be_sent(context):
    factor = 3

    class Local(context.Process):
        def run(self):
            return factor * 2

    assert started(context, lambda: factor).result() == 3
    process = Local()
    process.start()
    assert process.result() == 6


def test_a_subclass_overrides_run():
    process = Squares(7)
    process.start()
    assert process.result() == 49
    assert process.name == "square of 7"


def test_what_run_raises_is_printed_and_comes_back(context, capfd):
    process = started(context, raise_it, LookupError("no rice"))
    process.join()
    assert process.exitcode == 1
    assert isinstance(process.exception, LookupError)
    with pytest.raises(LookupError, match="no rice") as caught:
        process.result()
    assert "raise_it" in str(caught.value.__cause__)
    printed = capfd.readouterr().err
    assert f"Process {process.name}:" in printed
    assert "LookupError: no rice" in printed


@pytest.mark.parametrize(
    ("status", "exitcode"), [(None, 0), (0, 0), (3, 3), ("not today", 1)], ids=str
)
def test_sys_exit_ends_it_with_that_status(context, status, exitcode, capfd):
    process = started(context, sys.exit, status)
    process.join()
    assert process.exitcode == exitcode
    if exitcode:
        assert isinstance(process.exception, manyhands.WorkerCrashed)
        assert process.exception.exitcode == exitcode
        with pytest.raises(manyhands.WorkerCrashed, match=f"code {exitcode} by SystemExit"):
            process.result()
    else:
        assert process.result() is None
    assert ("not today" in capfd.readouterr().err) == (status == "not today")


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_process_can_be_ended_from_outside(context, end):
    process = started(context, wait_for_ever)
    assert process.is_alive()
    assert "started" in repr(process)
    with pytest.raises(ValueError, match="still running"):
        process.close()
    getattr(process, end)()
    process.join()
    number = signal.SIGTERM if end == "terminate" else signal.SIGKILL
    assert process.exitcode == -number
    assert not process.is_alive()
    assert process.exception.signal == number
    with pytest.raises(manyhands.WorkerCrashed, match=number.name):
        process.result()
    getattr(process, end)()  # Of a dead process: nothing happens.


def test_interrupt_raises_keyboard_interrupt_in_it(context, capfd):
    receiving, sending = context.Pipe(duplex=False)
    process = started(context, tell_and_wait, sending)
    assert receiving.recv() == "ready"
    process.interrupt()
    process.join()
    assert process.exitcode == 1
    assert isinstance(process.exception.__cause__, KeyboardInterrupt)
    assert "KeyboardInterrupt" in capfd.readouterr().err


def tell_and_wait(sending):
    sending.send("ready")
    threading.Event().wait()


def test_exit_without_python_is_told(context):
    process = started(context, os._exit, 7)
    process.join()
    assert process.exitcode == 7
    with pytest.raises(manyhands.WorkerCrashed, match="exited with code 7"):
        process.result()


def test_the_sentinel_can_be_selected_on(context):
    process = started(context, wait_for_ever)
    assert select.select([process.sentinel], [], [], 0)[0] == []
    process.kill()
    assert select.select([process.sentinel], [], [])[0] == [process.sentinel]
    assert not process.is_alive()
    assert process.exitcode == -signal.SIGKILL
    assert multiprocessing.connection.wait([process.sentinel]) == [process.sentinel]


def test_join_with_a_timeout_returns_while_it_runs(context):
    process = started(context, wait_for_ever)
    process.join(0.01)
    process.join(0)
    process.join(-1)
    assert process.exitcode is None
    with pytest.raises(TimeoutError):
        process.result(timeout=0.01)
    process.kill()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_a_large_result_needs_nobody_who_waits_for_it(context):
    process = started(context, bytes, 10_000_000)
    process.join()
    assert len(process.result()) == 10_000_000
    assert len(process.result()) == 10_000_000


def test_a_result_that_cannot_be_sent_is_missing_but_the_process_succeeds(context):
    process = started(context, threading.Lock)
    process.join()
    assert process.exitcode == 0
    with pytest.raises(Exception, match="cannot pickle"):
        process.result()


def test_a_process_starts_once_and_by_its_maker_only(context):
    process = started(context, int)
    with pytest.raises(AssertionError, match="twice"):
        process.start()
    process.join()
    unstarted = context.Process(target=int)
    with pytest.raises(AssertionError, match="started process"):
        unstarted.join()
    with pytest.raises(ValueError, match="not started"):
        _ = unstarted.sentinel
    for end in (unstarted.terminate, unstarted.kill, unstarted.interrupt):
        with pytest.raises(AssertionError, match="call start"):
            end()


def test_a_timeout_is_a_number(context):
    process = context.Process(target=int)
    process.start()
    with pytest.raises(ValueError, match="not nan"):
        process.join(float("nan"))
    process.join(float("inf"))
    assert process.exitcode == 0


def relatives():
    me, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    return me.name, me.pid == os.getpid(), parent.pid == os.getppid(), parent.is_alive(), me.daemon


def test_a_process_knows_itself_and_its_parent(context):
    name, is_me, is_direct, is_alive, is_daemon = started(context, relatives, name="cook").result()
    assert (name, is_me, is_alive, is_daemon) == ("cook", True, True, False)
    # A template's children have the template as the kernel's parent.
    assert is_direct == (context.get_start_method() in ("fork", "spawn"))


def test_active_children_are_those_that_run(context):
    process = started(context, wait_for_ever)
    assert process in multiprocessing.active_children()
    process.kill()
    process.join()
    assert process not in multiprocessing.active_children()


def nest(depth, method):
    if depth == 0:
        return [multiprocessing.current_process().name]
    process = multiprocessing.get_context(method).Process(
        target=nest, args=(depth - 1, method), daemon=True
    )
    process.start()
    return [multiprocessing.current_process().name, *process.result()]


def test_processes_and_daemons_may_have_processes(context):
    process = started(context, nest, 2, context.get_start_method())
    assert len(set(process.result())) == 3


def see_settings():
    return os.environ.get("MH_TEST_SPICE"), os.getcwd(), sys.argv[0], sys.path[-1]


def test_environment_and_paths_are_those_of_the_moment(context, monkeypatch, tmp_path):
    monkeypatch.setenv("MH_TEST_SPICE", "saffron")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kitchen"])
    monkeypatch.syspath_prepend("/pantry")
    spice, cwd, argv0, _ = started(context, see_settings).result()
    assert (spice, cwd, argv0) == ("saffron", str(tmp_path), "kitchen")


def test_usage_is_told_while_it_runs_and_after(context):
    process = started(context, wait_for_ever)
    assert process.cpu_time >= 0
    assert process.memory_info()["rss"] > 0
    process.kill()
    process.join()
    assert process.cpu_time != process.cpu_time, "nobody knows what a killed process has used"
    process = started(context, sum, range(10**6))
    process.join()
    assert process.cpu_time > 0
    assert process.memory_info()["peak"] > 0
    assert multiprocessing.current_process().name == "MainProcess"


def test_a_subclass_may_call_its_attributes_as_it_likes():
    class Named(multiprocessing.Process):
        def __init__(self):
            super().__init__()
            self.result = "mine"
            self.exception = None
            self.cpu_time = self.memory_info = 1

        def run(self):
            assert self.result == "mine"

    process = Named()
    process.start()
    process.join()
    assert (process.exitcode, process.result, process.exception) == (0, "mine", None)


def test_a_hundred_processes_run_at_once():
    processes = [multiprocessing.Process(target=abs, args=(-n,)) for n in range(100)]
    for process in processes:
        process.start()
    assert [process.result() for process in processes] == list(range(100))


def test_threads_may_start_processes(context):
    if context.get_start_method() == "fork":
        pytest.skip("a fork of a program with threads is the program's risk")
    results = []

    def start_some():
        results.extend(started(context, abs, -n).result() for n in range(3))

    threads = [threading.Thread(target=start_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted([0, 1, 2] * 4)


def test_a_process_that_is_dropped_runs_on(tmp_path, context):
    done = tmp_path / "done"
    started(context, done.touch)
    while not done.exists():
        time.sleep(0.001)  # Waiting for what must come; the watchdog ends it if it does not.
    while multiprocessing.active_children():
        time.sleep(0.001)


def make_and_fill():
    queue = multiprocessing.Queue()
    queue.put("rice")
    return {"queue": queue}


def test_a_result_may_name_shared_objects(context):
    process = started(context, make_and_fill)
    process.join()
    assert process.result()["queue"].get() == "rice"


def test_shared_objects_live_no_longer_for_having_been_sent(context):
    queue = multiprocessing.Queue()
    process = started(context, queue.put, "rice")
    process.join()
    assert queue.get() == "rice"
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=close_and_wait, args=(sending,))
    process.start()
    sending.close()
    with pytest.raises(EOFError):
        receiving.recv()
    assert process.is_alive()
    process.kill()
    process.join()


def close_and_wait(connection):
    connection.close()
    threading.Event().wait()


@pytest.mark.parametrize("timeout", [None, 3600])
def test_a_thread_that_joins_a_process_can_be_cancelled(context, timeout):
    if context.get_start_method() == "fork":
        pytest.skip("a forked process is waited for in poll(), as by the standard module")
    process = started(context, wait_for_ever)
    try:
        thread = Thread(target=process.join, args=(timeout,))
        thread.start()
        time.sleep(0.05)  # It may wait by then, or not yet: both must work.
        assert thread.cancel()
        thread.join()
        with pytest.raises(CancelledError):
            thread.result()
        assert process.is_alive()
    finally:
        process.kill()
        process.join()


class Sour:
    """Pickles well, and cannot be unpickled."""

    def __reduce__(self):
        return int, ("sour milk",)


def in_threads(n_threads, function):
    """What each call of `function` in a thread of its own returned or raised."""
    begin, outcomes = threading.Barrier(n_threads), []

    def call():
        begin.wait(60)
        try:
            outcomes.append(function())
        except Exception as error:
            outcomes.append(error)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == n_threads, "a thread hangs"
    return outcomes


def test_a_result_that_cannot_be_unpickled_raises_the_same_error_at_every_call(context):
    process = started(context, Sour)
    errors = in_threads(1, process.result) + in_threads(3, process.result)
    assert isinstance(errors[0], ValueError)
    assert "sour milk" in str(errors[0])
    assert all(error is errors[0] for error in errors)
    assert process.exitcode == 0
    assert process.exception is None


def test_threads_that_ask_for_a_result_at_once_get_the_same_object(context):
    for _ in range(5):
        process = started(context, list, range(1000))
        results = in_threads(4, process.result)
        assert results[0] == list(range(1000))
        assert all(result is results[0] for result in results)


def test_threads_that_join_a_killed_process_at_once_learn_the_same_exit_code(context):
    for _ in range(10):
        process = started(context, wait_for_ever)

        def learn(process=process):
            process.join()
            return process.exitcode

        threading.Timer(0.01, process.kill).start()
        assert in_threads(8, learn) == [-signal.SIGKILL] * 8
        assert process.exitcode == -signal.SIGKILL
