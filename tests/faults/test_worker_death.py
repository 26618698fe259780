"""A worker dies: only the task it was running fails, and the pool goes on.

Every way to die that a task can find, seen from the future, from the other tasks and from the pool
afterwards.  The kill-fuzz is in test_kill_fuzz.py.
"""

import os
import pathlib
import pickle
import signal
import threading
from concurrent.futures.process import BrokenProcessPool

import family_watch
import hostile_tasks as tasks
import pytest
from manyhands import WorkerCrashed
from manyhands.futures import ProcessPoolExecutor, wait

pytestmark = pytest.mark.timeout(120)

WAYS_TO_DIE = {
    "killed": (tasks.die_by, (signal.SIGKILL,), signal.SIGKILL, None),
    "terminated": (tasks.die_by, (signal.SIGTERM,), signal.SIGTERM, None),
    "segfault": (tasks.die_by_segfault, (), signal.SIGSEGV, None),
    "abort": (tasks.die_by_abort, (), signal.SIGABRT, None),
    "stack overflow": (tasks.die_by_stack_overflow, (), signal.SIGSEGV, None),
    "os._exit(0)": (tasks.die_by_os_exit, (0,), None, 0),
    "os._exit(3)": (tasks.die_by_os_exit, (3,), None, 3),
}


@pytest.fixture
def pool():
    with ProcessPoolExecutor(max_workers=2) as executor:
        yield executor


def crash_of(future):
    error = future.exception(timeout=60)
    assert isinstance(error, WorkerCrashed), repr(error)
    return error


@pytest.mark.parametrize("way", WAYS_TO_DIE)
def test_only_the_task_that_killed_its_worker_fails(pool, way):
    deadly, arguments, _, _ = WAYS_TO_DIE[way]
    before = [pool.submit(tasks.square, number) for number in range(100)]
    victim = pool.submit(deadly, *arguments)
    after = [pool.submit(tasks.square, number) for number in range(100)]
    crash_of(victim)
    assert [future.result(60) for future in before] == [n * n for n in range(100)]
    assert [future.result(60) for future in after] == [n * n for n in range(100)]
    assert list(pool.map(tasks.square, range(20), timeout=60)) == [n * n for n in range(20)]


@pytest.mark.parametrize("way", WAYS_TO_DIE)
def test_the_error_tells_how_the_worker_died_and_what_it_ran(pool, way):
    deadly, arguments, signal_number, exitcode = WAYS_TO_DIE[way]
    error = crash_of(pool.options(name="the deadly one").submit(deadly, *arguments))
    assert isinstance(error, BrokenProcessPool), "code written for the standard pool still works"
    assert error.task == "the deadly one"
    assert error.signal == signal_number
    if signal_number is None:
        assert error.exitcode == exitcode
        assert str(exitcode) in str(error)
    else:
        assert signal.Signals(signal_number).name in str(error)
    assert isinstance(error.pid, int)
    assert error.pid != os.getpid()
    assert str(error.pid) in str(error)
    assert "the deadly one" in str(error)


@pytest.mark.parametrize("way", ["segfault", "abort", "stack overflow"])
def test_the_error_carries_the_last_python_traceback_of_the_worker(pool, way):
    deadly, arguments, _, _ = WAYS_TO_DIE[way]
    error = crash_of(pool.submit(deadly, *arguments))
    assert error.traceback, "faulthandler could write one for this signal"
    assert deadly.__name__ in error.traceback


def test_a_task_without_a_name_is_named_after_its_function(pool):
    error = crash_of(pool.submit(tasks.die_by_os_exit, 1))
    assert "die_by_os_exit" in error.task


def test_a_crash_survives_pickling_with_all_it_knows(pool):
    error = crash_of(pool.submit(tasks.die_by_os_exit, 9))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    for name in ("task", "pid", "signal", "exitcode", "traceback"):
        assert getattr(copy, name) == getattr(error, name)


def test_every_crashed_future_has_an_error_of_its_own(pool):
    futures = [pool.submit(tasks.die_by_os_exit, 1) for _ in range(4)]
    errors = [crash_of(future) for future in futures]
    assert len({id(error) for error in errors}) == 4
    assert len({error.pid for error in errors}) == 4, "each died in a worker of its own"


def test_killing_idle_workers_costs_nothing(pool):
    wait([pool.submit(tasks.nap, 0.1) for _ in range(4)], timeout=60)
    for _ in range(5):
        for pid in list(pool._processes):
            os.kill(pid, signal.SIGKILL)
            family_watch.wait_until_dead(pid)
        assert list(pool.map(tasks.square, range(50), timeout=60)) == [n * n for n in range(50)]


def test_a_worker_killed_from_outside_in_the_middle_of_a_task_fails_that_task(pool, marks):
    victim = pool.submit(tasks.mark_and_nap, marks.path, "started", 1000)
    family_watch.wait_until(marks.read, "the task has started")
    os.kill(victim.statistics()["worker"], signal.SIGKILL)
    error = crash_of(victim)
    assert error.signal == signal.SIGKILL
    assert pool.submit(tasks.square, 7).result(60) == 49


def test_the_dead_worker_is_replaced(marks):
    with ProcessPoolExecutor(max_workers=1) as executor:
        first = executor.submit(tasks.pid_of_worker).result(60)
        crash_of(executor.submit(tasks.die_by_os_exit, 1))
        second = executor.submit(tasks.pid_of_worker).result(60)
        assert second != first
        assert second in executor._processes
        assert first not in executor._processes


def test_a_worker_killed_while_it_writes_a_large_result_loses_only_that_result():
    with ProcessPoolExecutor(max_workers=2) as executor:
        for round_index in range(30):
            large = [executor.submit(tasks.make_bytes, 16 << 20) for _ in range(2)]
            small = [executor.submit(tasks.square, number) for number in range(20)]
            family_watch.wait_until(
                lambda futures=large: any(f.running() or f.done() for f in futures), "it runs"
            )
            # Spread over the time that 16 MiB take to be made, copied and published.
            threading.Event().wait(round_index * 0.0007)
            for pid in list(executor._processes)[:1]:
                os.kill(pid, signal.SIGKILL)
            for future in large:
                error = future.exception(60)
                assert error is None or isinstance(error, WorkerCrashed)
                assert error is not None or future.result() == bytes(16 << 20)
            for number, future in enumerate(small):
                error = future.exception(60)
                assert error is None or isinstance(error, WorkerCrashed)
                assert error is not None or future.result() == number * number


def test_a_stopped_worker_holds_up_only_its_own_task(pool, marks):
    stopped = pool.submit(tasks.mark_and_nap, marks.path, "started", 0.2)
    family_watch.wait_until(marks.read, "the task has started")
    pid = stopped.statistics()["worker"]
    os.kill(pid, signal.SIGSTOP)
    try:
        others = [pool.submit(tasks.square, number) for number in range(200)]
        assert [future.result(60) for future in others] == [n * n for n in range(200)]
        assert not stopped.done()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert stopped.result(60) == "started", "a worker that is continued finishes its task"


def test_a_stopped_idle_worker_does_not_hold_up_the_tasks_given_to_it(pool):
    wait([pool.submit(tasks.nap, 0.1) for _ in range(4)], timeout=60)
    pid = next(iter(pool._processes))
    os.kill(pid, signal.SIGSTOP)
    try:
        futures = [pool.submit(tasks.square, number) for number in range(200)]
        # A stopped worker claims nothing, so no task may have to wait for it.
        _, waiting = wait(futures, timeout=20)
        assert not waiting
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [future.result(60) for future in futures] == [n * n for n in range(200)]


def test_a_stopped_worker_can_be_cancelled_and_is_replaced(pool, marks):
    stopped = pool.submit(tasks.mark_and_nap, marks.path, "started", 1000)
    family_watch.wait_until(marks.read, "the task has started")
    pid = stopped.statistics()["worker"]
    os.kill(pid, signal.SIGSTOP)
    assert stopped.cancel(running=True)
    family_watch.wait_until_dead(pid)
    assert pid not in {pool.submit(tasks.nap, 0.05).result(60) for _ in range(4)}


def test_the_death_of_the_process_that_makes_workers_is_survived(run):
    finished = run(
        """
import os, signal
import family_watch, hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor

token = os.environ[family_watch.TOKEN_NAME]
with ProcessPoolExecutor(max_workers=2) as executor:
    for _ in range(5):
        assert list(executor.map(tasks.square, range(50), timeout=60)) == [n * n for n in range(50)]
        family = family_watch.pids_with_token(token)
        makers = set(family) - {os.getpid()} - set(executor._processes)
        for pid in makers:
            assert family_watch.kill_member(pid, token)
            family_watch.wait_until_dead(pid)
        assert executor.submit(tasks.square, 12).result(60) == 144
        for pid in list(executor._processes):
            family_watch.kill_member(pid, token)
            family_watch.wait_until_dead(pid)
        assert executor.submit(tasks.square, 13).result(60) == 169
print("survived")
"""
    )
    assert (finished.status, finished.out) == (0, "survived\n"), finished.err


def test_a_pool_made_in_a_thread_that_ends_keeps_its_workers():
    made = []
    maker = threading.Thread(target=lambda: made.append(ProcessPoolExecutor(max_workers=2)))
    maker.start()
    maker.join()

    def use():
        made.append({made[0].submit(tasks.nap, 0.05).result(60) for _ in range(4)})

    user = threading.Thread(target=use)
    user.start()
    user.join()
    executor, workers = made
    with executor:
        for pid in workers:
            assert family_watch.is_alive(pid), "it died with the thread that started it"
        assert executor.submit(tasks.pid_of_worker).result(60) in executor._processes
        assert workers <= set(executor._processes)


def test_no_worker_is_a_zombie_after_it_died(pool):
    dead = [crash_of(pool.submit(tasks.die_by_os_exit, 1)).pid for _ in range(5)]
    assert pool.submit(tasks.square, 2).result(60) == 4
    for pid in dead:
        family_watch.wait_until(
            lambda p=pid: not pathlib.Path(f"/proc/{p}").exists(), f"{pid} is reaped"
        )


def test_shutdown_leaves_no_worker_even_if_some_were_killed_just_before():
    for _ in range(10):
        executor = ProcessPoolExecutor(max_workers=3)
        futures = [executor.submit(tasks.nap, 0.01) for _ in range(30)]
        family_watch.wait_until(lambda e=executor: e._processes, "there are workers")
        workers = dict(executor._processes)
        os.kill(next(iter(workers)), signal.SIGKILL)
        executor.shutdown(wait=True)
        assert all(future.done() for future in futures)
        for pid in workers:
            family_watch.wait_until_dead(pid)
