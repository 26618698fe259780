"""The parent is killed with SIGKILL: nobody it started survives it.

The parent gets no chance to clean up, so its workers (and whoever makes them) must notice by
themselves.  The moments are random, but their seed is fixed and shown by the test's name.
"""

import random
import signal
import time

import family_watch
import pytest

pytestmark = pytest.mark.timeout(180)

BUSY_PROGRAM = """
import random, threading, time
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor, as_completed

print("ready", flush=True)
while True:
    with ProcessPoolExecutor(max_workers=3) as executor:
        futures = [executor.submit(tasks.nap, 0.002) for _ in range(30)]
        futures += [executor.submit(tasks.make_bytes, 1 << 20) for _ in range(10)]
        for future in as_completed(futures):
            future.result()
        list(executor.map(tasks.square, range(200), chunksize=10))
"""

LIVE_POOL_PROGRAM = """
import os, sys, time
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor

executor = ProcessPoolExecutor(max_workers=2{arguments})
futures = [{tasks}]
while not all(future.running() or future.done() for future in futures):
    time.sleep(0.01)
{then}
print("ready", flush=True)
time.sleep(1000)
"""


def kill_when_ready(family, delay_seconds=0.0):
    family.wait_for_line("ready")
    # The moment is the subject of these tests, not a synchronisation.
    time.sleep(delay_seconds)
    others = set(family.pids()) - {family.process.pid}
    family.process.kill()
    finished = family.wait()
    assert finished.status == -signal.SIGKILL
    return others, finished


@pytest.mark.parametrize("seed", range(4))
def test_no_process_survives_a_parent_that_is_killed_at_a_random_moment(program, seed):
    random_source = random.Random(seed)
    n_watched = n_rounds = 0
    # Until there was somebody to survive.
    while n_rounds < 5 or not n_watched:
        n_rounds += 1
        family = program(BUSY_PROGRAM)
        others, _ = kill_when_ready(family, random_source.uniform(0, 0.5))
        n_watched += len(others)
        family.assert_gone()


@pytest.mark.parametrize("task", ["tasks.nap, 1000", "tasks.spin_in_python", "tasks.spin_in_c"])
def test_workers_that_are_busy_end_with_their_parent(program, task):
    source = LIVE_POOL_PROGRAM.format(
        arguments="", tasks=f"executor.submit({task}) for _ in range(2)", then=""
    )
    family = program(source)
    others, _ = kill_when_ready(family)
    assert len(others) >= 2
    family.assert_gone()


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_workers_of_every_start_method_end_with_their_parent(program, start_method):
    source = "import multiprocessing\nif __name__ == '__main__':\n" + "\n".join(
        "    " + line
        for line in LIVE_POOL_PROGRAM.format(
            arguments=f", mp_context=multiprocessing.get_context({start_method!r})",
            tasks="executor.submit(tasks.nap, 1000) for _ in range(2)",
            then="",
        ).splitlines()
    )
    family = program(source)
    others, _ = kill_when_ready(family)
    assert len(others) >= 2
    family.assert_gone()


def test_idle_workers_end_with_their_parent(program):
    source = LIVE_POOL_PROGRAM.format(
        arguments="",
        tasks="executor.submit(tasks.nap, 0.3) for _ in range(2)",
        then="[future.result() for future in futures]",
    )
    family = program(source)
    others, _ = kill_when_ready(family)
    assert len(others) >= 2
    family.assert_gone()


def test_a_worker_that_ignores_signals_ends_with_its_parent(program, tmp_path):
    source = LIVE_POOL_PROGRAM.format(
        arguments="",
        tasks=f"executor.submit(tasks.ignore_signals_and_nap, {str(tmp_path / 'm')!r}, 1000)"
        " for _ in range(2)",
        then=f"""
import family_watch
ignoring = family_watch.Marks({str(tmp_path / "m")!r})
family_watch.wait_until(lambda: len(ignoring.read()) == 2, "both ignore")
""",
    )
    family = program(source)
    kill_when_ready(family)
    family.assert_gone()


def test_a_worker_that_closed_all_its_descriptors_ends_with_its_parent(program):
    source = LIVE_POOL_PROGRAM.format(
        arguments="",
        tasks="executor.submit(tasks.nap, 1000) for _ in range(2)",
        then="""
executor_2 = ProcessPoolExecutor(max_workers=1)
executor_2.submit(tasks.close_all_descriptors).exception(60)
executor_2.submit(tasks.nothing).exception(60)
""",
    )
    family = program(source)
    kill_when_ready(family)
    family.assert_gone()


def test_workers_of_a_nested_pool_end_when_the_worker_above_them_is_killed(program):
    family = program(
        """
import os, time
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor

def nest():
    with ProcessPoolExecutor(max_workers=2) as inner:
        futures = [inner.submit(tasks.nap, 1000) for _ in range(2)]
        while sum(future.running() for future in futures) < 2:
            time.sleep(0.01)
        print("ready", flush=True)
        futures[0].result()

executor = ProcessPoolExecutor(max_workers=1)
executor.submit(nest).result()
"""
    )
    others, _ = kill_when_ready(family)
    assert len(others) >= 3
    family.assert_gone()


def test_killing_a_worker_ends_the_nested_pool_inside_it_and_nothing_else(run):
    finished = run(
        """
import os, signal, sys, time
import family_watch, hostile_tasks as tasks
from manyhands import WorkerCrashed
from manyhands.futures import ProcessPoolExecutor

marks = family_watch.Marks(os.path.abspath("inner"))

def nest(path):
    with ProcessPoolExecutor(max_workers=2) as inner:
        futures = [inner.submit(tasks.nap, 1000) for _ in range(2)]
        while sum(future.running() for future in futures) < 2:
            time.sleep(0.01)
        tasks.leave_mark(path, " ".join(map(str, inner._processes)))
        futures[0].result()

with ProcessPoolExecutor(max_workers=1) as executor:
    nested = executor.submit(nest, marks.path)
    family_watch.wait_until(marks.read, "the inner pool runs")
    inner_pids = [int(pid) for pid in marks.read()[0].split()]
    os.kill(nested.statistics()["worker"], signal.SIGKILL)
    assert isinstance(nested.exception(60), WorkerCrashed)
    for pid in inner_pids:
        family_watch.wait_until_dead(pid)
    assert executor.submit(tasks.square, 4).result(60) == 16
print(len(inner_pids))
"""
    )
    assert (finished.status, finished.out) == (0, "2\n"), finished.err


def test_a_task_that_was_running_when_the_parent_died_does_not_go_on(program, marks):
    source = LIVE_POOL_PROGRAM.format(
        arguments="", tasks="executor.submit(work) for _ in range(2)", then=""
    ).replace(
        "executor =",
        f"""
def work():
    while True:
        tasks.leave_mark({marks.path!r}, os.getpid())
        time.sleep(0.01)

executor =""",
        1,
    )
    family = program(source)
    family_watch.wait_until(marks.read, "the tasks have started")
    kill_when_ready(family)
    family.assert_gone()
    written = len(marks.read())
    time.sleep(0.1)
    assert len(marks.read()) == written
