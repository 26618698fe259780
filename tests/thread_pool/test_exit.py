"""The end of the interpreter: queued work is done, new work refused, nothing hangs."""

import os
import subprocess
import sys

WATCHDOG_S = 60

PROLOGUE = "from manyhands.futures import *\nimport time\n"


def run(program):
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            PROLOGUE + program,
        ],
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    return process.returncode, process.stdout, process.stderr


def test_queued_work_is_done_before_the_program_ends():
    assert run("""
pool = ThreadPoolExecutor(1)
for n in range(3):
    pool.submit(lambda n=n: (time.sleep(0.02), print(n, flush=True)))
""") == (0, "0\n1\n2\n", "")


def test_queued_work_of_a_dropped_pool_is_done_too():
    assert run("""
ThreadPoolExecutor(1).submit(lambda: (time.sleep(0.1), print("done", flush=True)))
""") == (0, "done\n", "")


def test_a_task_that_submits_at_the_end_is_refused():
    assert run("""
pool = ThreadPoolExecutor(1)
def late():
    try:
        while True:
            pool.submit(int)
            time.sleep(0.001)
    except RuntimeError as error:
        print(error, flush=True)
pool.submit(late)
""") == (0, "cannot schedule new futures after interpreter shutdown\n", "")


def test_idle_pools_delay_nothing():
    assert run("""
pools = [ThreadPoolExecutor(2) for _ in range(20)]
for pool in pools:
    pool.submit(int).result()
print("end")
""") == (0, "end\n", "")


def test_a_stopped_task_that_stays_in_c_code_does_not_hold_the_program():
    assert run("""
pool = ThreadPoolExecutor(1)
future = pool.submit(time.sleep, 300)
while not future.running():
    pass
future.cancel(running=True, grace=0.01)
print(pool.submit(abs, -1).result())
""") == (0, "1\n", "")


def test_a_future_that_outlives_everything_is_harmless():
    assert run("""
import builtins
pool = ThreadPoolExecutor(1)
builtins.kept = [pool, pool.submit(int), Future(), pool.map(abs, [1])]
""") == (0, "", "")
