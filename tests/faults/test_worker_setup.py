"""How workers begin and end: initializer, preload, max_tasks_per_child, CPU count.

An initializer that fails is an error on the pool; it is never tried for ever.
"""

import multiprocessing
import os
import sys
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import BrokenThreadPool

import family_watch
import hostile_tasks as tasks
import pytest
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait

pytestmark = pytest.mark.timeout(120)

START_METHODS = [None, "fork", "spawn", "forkserver"]


@pytest.mark.parametrize(
    ("kind", "broken"),
    [(ProcessPoolExecutor, BrokenProcessPool), (ThreadPoolExecutor, BrokenThreadPool)],
    ids=["processes", "threads"],
)
def test_an_initializer_that_raises_breaks_the_pool_once_and_says_why(kind, broken, marks):
    # The pool may be broken before the first task is handed in, or only notice it afterwards.
    with (
        kind(2, initializer=tasks.raise_after_mark, initargs=(marks.path,)) as executor,
        pytest.raises(broken, match="initializer"),
    ):
        for _ in range(1000):
            error = executor.submit(tasks.square, 1).exception(60)
            assert isinstance(error, broken)
    # At most one run for each worker and for a replacement that was already on its way.
    assert 1 <= len(marks.read()) <= 4


def test_the_error_of_the_initializer_is_in_the_message(marks):
    with ProcessPoolExecutor(
        1, initializer=tasks.raise_after_mark, initargs=(marks.path,)
    ) as executor:
        error = executor.submit(tasks.square, 1).exception(60)
    shown = f"{error} {error.__cause__}"
    assert "the initializer does not like this machine" in shown


def test_an_initializer_that_ends_its_worker_breaks_the_pool_instead_of_looping(marks):
    with (
        ProcessPoolExecutor(
            2, initializer=tasks.exit_after_mark, initargs=(marks.path,)
        ) as executor,
        pytest.raises(BrokenProcessPool),
    ):
        for _ in range(1000):
            error = executor.submit(tasks.square, 1).exception(60)
            assert isinstance(error, BrokenProcessPool)
    assert 1 <= len(marks.read()) <= 4


@pytest.mark.parametrize("way", ["kill_workers", "terminate_workers", "shutdown"])
def test_a_hanging_initializer_can_be_given_up(marks, way):
    executor = ProcessPoolExecutor(1, initializer=tasks.hang_after_mark, initargs=(marks.path,))
    future = executor.submit(tasks.square, 1)
    family_watch.wait_until(marks.read, "the initializer runs")
    workers = list(executor._processes)
    assert workers
    if way == "shutdown":
        assert future.cancel(), "a task that nobody has started can be cancelled"
        executor.shutdown(wait=False)
        for pid in workers:
            os.kill(pid, 9)
    else:
        getattr(executor, way)()
    for pid in workers:
        family_watch.wait_until_dead(pid)
    wait([future], timeout=60)
    assert future.done()
    executor.shutdown()


def test_an_initializer_that_cannot_be_pickled_is_an_error_not_a_hang():
    import threading

    lock = threading.Lock()
    with (
        pytest.raises(Exception, match="lock"),
        ProcessPoolExecutor(1, initializer=lambda: lock) as executor,
    ):
        raise executor.submit(tasks.square, 1).exception(60)


@pytest.mark.parametrize("start_method", START_METHODS)
def test_the_initializer_runs_once_in_every_worker_also_in_replacements(marks, start_method):
    path = marks.path
    context = multiprocessing.get_context(start_method) if start_method else None
    with ProcessPoolExecutor(
        1, mp_context=context, initializer=tasks.leave_mark, initargs=(path, "set up")
    ) as executor:
        assert executor.submit(tasks.square, 2).result(60) == 4
        assert marks.read() == ["set up"]
        assert executor.submit(tasks.die_by_os_exit, 1).exception(60)
        assert executor.submit(tasks.square, 3).result(60) == 9
        assert marks.read() == ["set up"] * 2


@pytest.mark.parametrize("start_method", [None, "spawn", "forkserver"])
@pytest.mark.parametrize("n_tasks", [1, 3])
def test_a_worker_takes_no_more_tasks_than_it_may(start_method, n_tasks):
    context = multiprocessing.get_context(start_method) if start_method else None
    n_rounds = 12 if start_method is None else 4
    with ProcessPoolExecutor(2, mp_context=context, max_tasks_per_child=n_tasks) as executor:
        futures = [executor.submit(tasks.pid_of_worker) for _ in range(n_rounds * n_tasks)]
        pids = [future.result(60) for future in futures]
    assert max(pids.count(pid) for pid in pids) <= n_tasks
    assert len(set(pids)) >= n_rounds


def test_recycling_and_crashing_workers_together_lose_no_task():
    with ProcessPoolExecutor(2, max_tasks_per_child=2) as executor:
        deadly = [executor.submit(tasks.die_by_os_exit, 1) for _ in range(10)]
        futures = [executor.submit(tasks.square, n) for n in range(40)]
        deadly += [executor.submit(tasks.die_by_os_exit, 1) for _ in range(10)]
        assert [future.result(60) for future in futures] == [n * n for n in range(40)]
        assert all(isinstance(future.exception(60), BrokenProcessPool) for future in deadly)


@pytest.mark.parametrize("collected", [False, True])
def test_pending_tasks_of_recycled_workers_run_after_shutdown_without_wait(collected):
    executor = ProcessPoolExecutor(1, max_tasks_per_child=1)
    futures = [executor.submit(tasks.square, n) for n in range(8)]
    executor.shutdown(wait=False)
    if collected:
        del executor
    assert [future.result(60) for future in futures] == [n * n for n in range(8)]


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), ("3", TypeError), (1.5, TypeError)]
)
def test_a_senseless_max_tasks_per_child_is_refused(value, error):
    with pytest.raises(error, match="max_tasks_per_child"):
        ProcessPoolExecutor(1, max_tasks_per_child=value)


def test_preloaded_modules_are_there_before_the_first_task():
    assert "colorsys" not in sys.modules
    with ProcessPoolExecutor(1, preload=["colorsys"]) as executor:
        assert executor.submit(eval, "'colorsys' in __import__('sys').modules").result(60)
    with ProcessPoolExecutor(1) as executor:
        seen = executor.submit(eval, "'colorsys' in __import__('sys').modules").result(60)
    assert not seen, "a preload belongs to the pool that asked for it"


def test_a_preload_that_cannot_be_imported_is_reported_by_name_and_the_pool_works(run):
    finished = run(
        """
from manyhands.futures import ProcessPoolExecutor
with ProcessPoolExecutor(1, preload=["no_such_module_anywhere"]) as executor:
    print(executor.submit(pow, 2, 10).result(60))
"""
    )
    assert (finished.status, finished.out) == (0, "1024\n"), finished.err
    assert "no_such_module_anywhere" in finished.err


def test_workers_are_started_on_demand():
    with ProcessPoolExecutor(max_workers=8) as executor:
        for _ in range(5):
            executor.submit(tasks.nothing).result(60)
        assert 1 <= len(executor._processes) <= 2


def test_the_default_number_of_workers_respects_the_affinity_mask(run):
    finished = run(
        """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor
with ProcessPoolExecutor() as processes, ThreadPoolExecutor() as threads:
    print(processes._max_workers, threads._max_workers)
"""
    )
    assert (finished.status, finished.out) == (0, "1 5\n"), finished.err


@pytest.mark.skipif(sys.version_info < (3, 13), reason="PYTHON_CPU_COUNT is new in Python 3.13")
def test_the_default_number_of_workers_respects_pythons_own_setting(run):
    finished = run(
        """
from manyhands.futures import ProcessPoolExecutor
with ProcessPoolExecutor() as executor:
    print(executor._max_workers)
""",
        env={"PYTHON_CPU_COUNT": "7"},
    )
    assert (finished.status, finished.out) == (0, "7\n"), finished.err


@pytest.mark.parametrize("start_method", START_METHODS)
def test_every_start_method_runs_tasks_and_survives_a_crash(start_method):
    context = multiprocessing.get_context(start_method) if start_method else None
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        assert list(executor.map(tasks.square, range(30), timeout=60)) == [n * n for n in range(30)]
        assert isinstance(executor.submit(tasks.die_by_os_exit, 1).exception(60), BrokenProcessPool)
        assert list(executor.map(tasks.square, range(30), timeout=60)) == [n * n for n in range(30)]
