"""`multiprocessing.Pool` when things die: workers, the program, its threads, its parent."""

import json
import os
import pathlib
import signal

import pytest

pytestmark = pytest.mark.timeout(300)

FUZZ = (pathlib.Path(__file__).parent / "pool_kill_fuzz_program.py").read_text()
#: 1 in the suite; 10 makes it well over a thousand kills.
SCALE = int(os.environ.get("MANYHANDS_FUZZ_SCALE", "1"))


@pytest.mark.parametrize(
    ("start_method", "n_kills", "seed"),
    [("template", 60, 1), ("template", 60, 2), ("fork", 40, 3), ("spawn", 6, 4)],
)
def test_every_task_of_a_pool_ends_once_while_random_workers_are_killed(
    program, start_method, n_kills, seed
):
    n_kills *= SCALE
    family = program(FUZZ, arguments=(start_method, n_kills, seed))
    finished = family.wait(timeout_seconds=240)
    assert finished.status == 0, finished.err[-4000:]
    seen = json.loads(finished.out)
    assert not {name for name in seen["outcomes"] if name.startswith("wrong")}, seen
    assert sum(seen["outcomes"].values()) == seen["n_tasks"]
    assert seen["outcomes"].get("crashed", 0) <= seen["kills"] == n_kills
    assert seen["works_after"]
    family.assert_gone()


INTERRUPTED = """
import time
from manyhands.multiprocessing import Pool

def nap(seconds):
    time.sleep(seconds)

pool = Pool(2)
with pool:
    running = pool.apply_async(nap, (1000,))
    pool.apply(nap, (0.01,))
    print("ready", flush=True)
    {body}
"""


@pytest.mark.parametrize(
    "body",
    [
        "pool.map(nap, [1000] * 100, 1)",
        "list(pool.imap(nap, [1000] * 100))",
        "list(pool.imap_unordered(nap, iter([1000] * 100)))",
        "running.get()",
        "running.wait(1000)",
        "pool.close(); pool.join()",
        "time.sleep(1000)",
    ],
)
def test_one_ctrl_c_ends_a_program_with_a_pool(program, body):
    family = program(INTERRUPTED.format(body=body))
    family.wait_for_line("ready")
    family.interrupt()
    finished = family.wait()
    assert finished.status in (-signal.SIGINT, 130)
    assert finished.err.count("Traceback") == 1, finished.err
    assert finished.err.rstrip().endswith("KeyboardInterrupt"), finished.err
    family.assert_gone()


OPEN_AT_THE_END = {
    "idle": "pool.map(abs, range(10))",
    "running": "pool.apply(abs, (1,)); results = [pool.apply_async(nap) for _ in range(10)]",
    "full": "results = pool.map_async(time.sleep, [1000] * 100_000, 1)",
    "imap": "results = pool.imap(abs, itertools.count()); next(results)",
    "callback": "pool.apply_async(nap, callback=print, error_callback=print)",
    "closed": "pool.apply_async(nap); pool.close()",
}


@pytest.mark.parametrize("kind", ["Pool", "ThreadPool"])
@pytest.mark.parametrize("what", OPEN_AT_THE_END)
def test_a_program_ends_quietly_with_an_open_pool(program, kind, what):
    family = program(
        f"""
import itertools, time
from manyhands.multiprocessing.pool import {kind}

def nap():
    time.sleep(1000)

pool = {kind}(2)
{OPEN_AT_THE_END[what]}
print("end")
"""
    )
    finished = family.wait()
    assert (finished.status, finished.out, finished.err) == (0, "end\n", "")
    family.assert_gone()


def test_an_open_pool_warns_at_the_end_if_the_program_wants_it(program):
    family = program(
        "from manyhands.multiprocessing import Pool\npool = Pool(1)\nprint(pool.apply(abs, (-1,)))",
        flags=("-Wd",),
    )
    finished = family.wait()
    assert (finished.status, finished.out) == (0, "1\n")
    lines = [line for line in finished.err.splitlines() if "Warning" in line]
    assert all("ResourceWarning" in line for line in lines), finished.err
    assert "Traceback" not in finished.err
    family.assert_gone()


def test_a_thread_may_use_its_pool_after_the_main_thread_has_ended(run):
    finished = run(
        """
import threading, time
from manyhands.multiprocessing import Pool

def work():
    threading.main_thread().join()
    with Pool(2) as pool:
        print(pool.map(lambda n: n * n, range(4)))

threading.Thread(target=work).start()
"""
    )
    assert (finished.status, finished.out) == (0, "[0, 1, 4, 9]\n"), finished.err


def test_a_forked_child_leaves_its_parents_pool_alone(run):
    finished = run(
        """
import os, warnings
warnings.simplefilter("ignore")
from manyhands.multiprocessing import Pool

pool = Pool(2)
assert pool.map(abs, [-1, -2]) == [1, 2]
pid = os.fork()
if pid == 0:
    try:
        pool.apply(abs, (-1,))
    except RuntimeError as error:
        print("child:", "fork" in str(error), flush=True)
    with Pool(1) as own:
        print("child:", own.map(abs, [-3]), flush=True)
    del pool
    raise SystemExit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
print(pool.map(abs, [-1, -2]))
"""
    )
    expected = "child: True\nchild: [3]\n0\n[1, 2]\n"
    assert (finished.status, finished.out) == (0, expected), finished.err


def test_a_process_that_leaves_its_pool_open_ends(run):
    finished = run(
        """
from manyhands import multiprocessing

def child():
    global pool
    pool = multiprocessing.Pool(2)
    print(pool.map(abs, [-1]), flush=True)

process = multiprocessing.Process(target=child)
process.start()
process.join()
print(process.exitcode)
"""
    )
    assert (finished.status, finished.out) == (0, "[1]\n0\n"), finished.err


def test_no_worker_outlives_a_killed_program(program):
    family = program(
        """
import time
from manyhands.multiprocessing import Pool
pool = Pool(3)
results = pool.map_async(time.sleep, [1000] * 50, 1)
pool.apply_async
print(len(pool._pool), flush=True)
time.sleep(1000)
"""
    )
    family.wait_for_line("3")
    os.kill(family.process.pid, signal.SIGKILL)
    family.assert_gone()


def test_a_result_that_nobody_keeps_is_still_computed(run, tmp_path):
    finished = run(
        f"""
import os, time, warnings
warnings.simplefilter("ignore")
from manyhands.multiprocessing import Pool

def touch(path):
    time.sleep(0.1)
    open(path, "w").close()

def fire():
    pool = Pool(1)
    pool.apply_async(touch, ({str(tmp_path / "mark")!r},))

fire()
while not os.path.exists({str(tmp_path / "mark")!r}):
    time.sleep(0.01)
print("there")
"""
    )
    assert (finished.status, finished.out) == (0, "there\n"), finished.err


def test_two_hundred_workers_are_no_problem(run):
    finished = run(
        """
from manyhands.multiprocessing import Pool
with Pool(200) as pool:
    print(sum(pool.map(lambda n: n * n, range(1000))))
"""
    )
    assert (finished.status, finished.out, finished.err) == (0, "332833500\n", "")
