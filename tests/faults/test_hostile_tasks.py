"""Tasks that misuse the worker they run in: the task bears the cost, the pool goes on.

Each test lets a task do something that real programs do, then asks the same pool for ordinary work
and looks at the parent, which must be as it was.
"""

import os
import pathlib
import signal
import threading
import time

import family_watch
import hostile_tasks as tasks
import pytest
from manyhands import WorkerCrashed
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor

pytestmark = pytest.mark.timeout(120)

SQUARES = [number * number for number in range(50)]


@pytest.fixture
def pool():
    """One worker, so that the next task meets what the hostile one left behind."""
    with ProcessPoolExecutor(max_workers=1) as executor:
        yield executor


def assert_works(executor):
    assert list(executor.map(tasks.square, range(50), timeout=60)) == SQUARES


@pytest.mark.parametrize("kind", [ProcessPoolExecutor, ThreadPoolExecutor])
@pytest.mark.parametrize("status", [0, 3, "a message", None])
def test_sys_exit_ends_the_task_not_the_worker(kind, status):
    with kind(max_workers=1) as executor:
        error = executor.submit(tasks.call_sys_exit, status).exception(60)
        assert isinstance(error, SystemExit)
        assert error.code == status
        assert_works(executor)


@pytest.mark.parametrize("error_type", [KeyboardInterrupt, GeneratorExit, BaseException])
@pytest.mark.parametrize("kind", [ProcessPoolExecutor, ThreadPoolExecutor])
def test_an_exception_that_is_not_an_error_belongs_to_its_task(kind, error_type):
    with kind(max_workers=1) as executor:
        error = executor.submit(tasks.raise_error, error_type, "mine").exception(60)
        assert type(error) is error_type
        assert error.args == ("mine",)
        assert_works(executor)


def test_a_task_that_closes_all_descriptors_ends_and_the_pool_goes_on(pool):
    for _ in range(3):
        error = pool.submit(tasks.close_all_descriptors).exception(60)
        assert error is None or isinstance(error, WorkerCrashed)
        crashed = pool.submit(tasks.square, 3).exception(60)
        assert crashed is None or isinstance(crashed, WorkerCrashed)
    assert_works(pool)


def test_the_death_of_a_worker_without_descriptors_is_noticed(pool):
    def close_and_die():
        os.closerange(0, 65536)
        os._exit(4)

    error = pool.submit(close_and_die).exception(60)
    assert isinstance(error, WorkerCrashed)
    assert error.exitcode == 4
    assert_works(pool)


def test_a_task_that_changes_directory_does_not_move_the_parent(pool, tmp_path):
    before = pathlib.Path.cwd()
    assert pool.submit(tasks.change_directory, str(tmp_path)).result(60) == str(tmp_path)
    assert pathlib.Path.cwd() == before
    assert_works(pool)


def test_a_task_in_a_directory_that_is_gone_works(pool, tmp_path):
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    pool.submit(tasks.change_directory, str(doomed)).result(60)
    doomed.rmdir()
    assert_works(pool)


def test_signal_handlers_of_a_task_do_not_keep_the_next_ones_from_being_stopped(pool, marks):
    pool.submit(tasks.replace_signal_handlers).result(60)
    running = pool.submit(tasks.mark_and_nap, marks.path, "started", 1000)
    family_watch.wait_until(marks.read, "it runs")
    assert running.cancel(running=True)
    assert_works(pool)
    late = pool.options(timeout=0.2).submit(tasks.nap, 1000)
    assert isinstance(late.exception(60), TimeoutError)
    assert_works(pool)


def test_a_task_that_ignores_all_signals_does_not_keep_its_pool_from_ending(marks):
    with ProcessPoolExecutor(max_workers=1) as executor:
        executor.submit(tasks.ignore_signals_and_nap, marks.path, 0.01).result(60)
        pid = int(marks.read()[0])
        assert_works(executor)
    family_watch.wait_until_dead(pid)


def test_a_blocked_signal_mask_does_not_keep_the_next_task_from_being_stopped(pool):
    pool.submit(signal.pthread_sigmask, signal.SIG_SETMASK, signal.valid_signals()).result(60)
    running = pool.submit(tasks.nap, 1000)
    family_watch.wait_until(running.running, "it runs")
    assert running.cancel(running=True)
    assert_works(pool)


def test_a_timer_that_a_task_left_behind_hurts_nobody(pool):
    def leave_timer():
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)

    pool.submit(leave_timer).result(60)
    for _ in range(20):
        assert_works(pool)


def test_a_thread_left_by_a_task_ends_its_work_before_the_worker_ends(marks):
    def leave_thread(path):
        def work():
            time.sleep(0.3)
            tasks.leave_mark(path, "the thread's work")

        threading.Thread(target=work).start()

    with ProcessPoolExecutor(max_workers=1) as executor:
        executor.submit(leave_thread, marks.path).result(60)
        assert_works(executor)
    # As with the standard pool, whose workers wait for their non-daemon threads too.
    assert marks.read() == ["the thread's work"]


@pytest.mark.parametrize("way", ["kill_workers", "terminate_workers"])
def test_an_endless_thread_left_by_a_task_can_be_ended_with_its_worker(way):
    executor = ProcessPoolExecutor(max_workers=1)
    pid = executor.submit(tasks.start_endless_thread).result(60)
    assert_works(executor)
    getattr(executor, way)()
    family_watch.wait_until_dead(pid)


def test_a_daemonised_grandchild_holds_up_nothing(pool):
    worker, grandchild = pool.submit(tasks.daemonise_child, 600).result(60)
    try:
        assert_works(pool)
        # It inherited every descriptor of the worker: the death must be noticed all the same.
        running = pool.submit(tasks.nap, 1000)
        family_watch.wait_until(running.running, "it runs")
        os.kill(worker, signal.SIGKILL)
        assert isinstance(running.exception(60), WorkerCrashed)
        assert_works(pool)
        pool.shutdown(wait=True)
        assert family_watch.is_alive(grandchild), "it is the user's own process, not ours to end"
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_a_task_that_returns_in_two_processes_ends_once_and_leaves_no_copy(program):
    # In a program of its own: the copies of the worker must not outlive it.
    family = program(
        """
import hostile_tasks as tasks
from manyhands import WorkerCrashed
from manyhands.futures import ProcessPoolExecutor

calls = []
with ProcessPoolExecutor(max_workers=1) as pool:
    for _ in range(5):
        twice = pool.submit(tasks.return_twice)
        twice.add_done_callback(calls.append)
        error = twice.exception(60)
        assert error is None or isinstance(error, WorkerCrashed), error
        assert error is not None or twice.result() in ("worker", "copy")
        assert list(pool.map(tasks.square, range(50))) == [n * n for n in range(50)]
print(len(calls))
"""
    )
    finished = family.wait(timeout_seconds=30)
    assert (finished.status, finished.out) == (0, "5\n"), finished.err
    family.assert_gone()


def test_a_worker_that_leaves_its_session_and_group_is_still_ended(pool):
    def leave():
        os.setsid()
        return os.getpid()

    pid = pool.submit(leave).result(60)
    assert_works(pool)
    pool.shutdown(wait=True)
    family_watch.wait_until_dead(pid)


def test_a_task_without_standard_streams_can_still_answer(pool):
    def close_streams():
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        return "answer"

    assert pool.submit(close_streams).result(60) == "answer"
    pool.submit(print, "to nowhere").exception(60)
    assert_works(pool)


def test_a_worker_that_may_not_open_files_any_more_still_works(pool):
    def forbid_files():
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))

    pool.submit(forbid_files).result(60)
    assert_works(pool)


def test_a_task_that_fills_its_memory_limit_fails_alone(pool):
    def fill():
        import resource

        here = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (here + (64 << 20), resource.RLIM_INFINITY))
        try:
            return len(bytes(1 << 30))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    assert isinstance(pool.submit(fill).exception(60), MemoryError)
    assert_works(pool)


def test_a_task_that_changes_the_recursion_limit_and_the_collector_spoils_nothing(pool):
    def spoil():
        import gc
        import sys

        sys.setrecursionlimit(80)
        gc.disable()

    pool.submit(spoil).exception(60)
    assert_works(pool)


def test_a_deep_recursion_is_an_error_of_the_task(pool):
    def dive():
        return dive()

    assert isinstance(pool.submit(dive).exception(60), RecursionError)
    assert_works(pool)


def test_a_trace_function_left_by_a_task_does_not_reach_the_parent():
    with ThreadPoolExecutor(max_workers=1) as executor:
        assert_works(executor)
    with ProcessPoolExecutor(max_workers=1) as executor:
        executor.submit(threading.settrace, None).result(60)
        assert_works(executor)


def test_a_task_that_replaces_builtins_and_streams_can_still_answer(pool):
    def vandalise():
        import builtins
        import sys

        sys.stdout = sys.stderr = None
        del builtins.print
        return "answer"

    assert pool.submit(vandalise).result(60) == "answer"
    assert_works(pool)
