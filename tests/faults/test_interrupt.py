"""Ctrl-C: one press ends the program, with one traceback, Python's status, and nobody left.

The signal goes to the whole process group, as a terminal sends it, and in one test to the parent
alone, as ``kill -INT`` sends it.
"""

import random
import re
import signal
import time

import pytest

pytestmark = pytest.mark.timeout(180)

PROGRAM = """
import sys, time
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait

def ready_when_running(*futures):
    while not all(future.running() for future in futures):
        time.sleep(0.005)
    print("ready", flush=True)

{body}
"""

PLACES = {
    "result": """
executor = ProcessPoolExecutor(max_workers=2)
future = executor.submit(tasks.nap, 1000)
ready_when_running(future)
future.result()
""",
    "result with a timeout": """
executor = ProcessPoolExecutor(max_workers=2)
future = executor.submit(tasks.nap, 1000)
ready_when_running(future)
future.result(timeout=1000)
""",
    "exception": """
executor = ProcessPoolExecutor(max_workers=2)
future = executor.submit(tasks.nap, 1000)
ready_when_running(future)
future.exception()
""",
    "with": """
with ProcessPoolExecutor(max_workers=2) as executor:
    future = executor.submit(tasks.nap, 1000)
    ready_when_running(future)
    time.sleep(1000)
""",
    "the end of with": """
with ProcessPoolExecutor(max_workers=2) as executor:
    futures = [executor.submit(tasks.nap, 1000) for _ in range(50)]
    ready_when_running(futures[0])
""",
    "shutdown": """
executor = ProcessPoolExecutor(max_workers=2)
futures = [executor.submit(tasks.nap, 1000) for _ in range(50)]
ready_when_running(futures[0])
executor.shutdown(wait=True)
""",
    "map": """
with ProcessPoolExecutor(max_workers=2) as executor:
    results = executor.map(tasks.nap, [0.01, 1000, 1000, 1000])
    next(results)
    print("ready", flush=True)
    list(results)
""",
    "wait": """
executor = ProcessPoolExecutor(max_workers=2)
futures = [executor.submit(tasks.nap, 1000) for _ in range(10)]
ready_when_running(futures[0])
wait(futures)
""",
    "as_completed": """
with ProcessPoolExecutor(max_workers=2) as executor:
    futures = [executor.submit(tasks.nap, 1000) for _ in range(10)]
    ready_when_running(futures[0])
    for future in as_completed(futures):
        pass
""",
    "workers in C code": """
with ProcessPoolExecutor(max_workers=2) as executor:
    futures = [executor.submit(tasks.spin_in_c) for _ in range(4)]
    ready_when_running(*futures[:2])
    futures[0].result()
""",
    "workers in Python code": """
with ProcessPoolExecutor(max_workers=2) as executor:
    futures = [executor.submit(tasks.spin_in_python) for _ in range(4)]
    ready_when_running(*futures[:2])
    futures[0].result()
""",
    "workers that ignore signals": """
with ProcessPoolExecutor(max_workers=2) as executor:
    futures = [executor.submit(tasks.ignore_signals_and_nap, "ignoring", 1000) for _ in range(2)]
    while not all(future.running() for future in futures): time.sleep(0.01)
    while len(open("ignoring", "a+").seek(0) or open("ignoring").readlines()) < 2: time.sleep(0.01)
    print("ready", flush=True)
    futures[0].result()
""",
    "an endless thread left by a task": """
with ProcessPoolExecutor(max_workers=2) as executor:
    executor.submit(tasks.start_endless_thread).result()
    print("ready", flush=True)
""",
    "a hanging initializer": """
with ProcessPoolExecutor(2, initializer=tasks.hang_after_mark, initargs=("hanging",)) as executor:
    future = executor.submit(tasks.nothing)
    while not open("hanging", "a+").seek(0, 2): time.sleep(0.01)
    print("ready", flush=True)
    future.result()
""",
    "threads asleep": """
with ThreadPoolExecutor(max_workers=2) as executor:
    future = executor.submit(tasks.spin_in_python)
    ready_when_running(future)
    future.result()
""",
    "the end of a thread pool": """
with ThreadPoolExecutor(max_workers=2) as executor:
    futures = [executor.submit(tasks.spin_in_python) for _ in range(3)]
    ready_when_running(futures[0])
""",
    "asyncio": """
import asyncio

async def main():
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(max_workers=2) as executor:
        waiting = loop.run_in_executor(executor, tasks.nap, 1000)
        while not next(iter(executor._processes), None): await asyncio.sleep(0.01)
        print("ready", flush=True)
        await waiting

asyncio.run(main())
""",
}


def last_said(err):
    """The last line of what the program said, without the notes that CPython 3.12 and later adds to
    an interrupt in the middle of a class statement, as an import runs them."""
    lines = [line for line in err.splitlines() if not line.startswith("Error calling __set_name__")]
    return lines[-1]


#: What CPython says of an interrupt that comes in a callback of its import system. Nothing can be
#: raised from there: the interrupt is lost, whatever the program is.
LOST = re.compile(
    r"Exception ignored in: <function _get_module_lock\.<locals>\.cb .*?^KeyboardInterrupt: ?\n",
    re.DOTALL | re.MULTILINE,
)


def interrupt_until_it_is_taken(family):
    """Interrupts the program, once more for each time that CPython says that it was lost."""
    family.interrupt()
    n_lost = 0
    deadline = time.monotonic() + 60
    while family.process.poll() is None and time.monotonic() < deadline:
        if len(LOST.findall(family.err)) > n_lost:
            n_lost += 1
            family.interrupt()
        time.sleep(0.01)


def check_ended_by_one_interrupt(family, n_tracebacks=1):
    finished = family.wait(timeout_seconds=60)
    err = LOST.sub("", finished.err)
    assert finished.status == -signal.SIGINT, finished
    assert err.count("Traceback (most recent call last)") == n_tracebacks, finished.err
    assert last_said(err).startswith("KeyboardInterrupt"), finished.err
    family.assert_gone()


@pytest.mark.parametrize("place", [place for place in PLACES if place != "asyncio"])
def test_one_interrupt_ends_the_program_in(program, place):
    family = program(PROGRAM.format(body=PLACES[place]))
    family.wait_for_line("ready")
    family.interrupt()
    check_ended_by_one_interrupt(family)


def test_one_interrupt_ends_a_program_that_awaits_a_pool(program):
    family = program(PROGRAM.format(body=PLACES["asyncio"]))
    family.wait_for_line("ready")
    family.interrupt()
    finished = family.wait(timeout_seconds=60)
    # asyncio.run itself turns the interrupt into a cancellation first and chains the two.
    assert finished.status == -signal.SIGINT, finished
    assert last_said(finished.err).startswith("KeyboardInterrupt"), finished.err
    family.assert_gone()


@pytest.mark.parametrize("place", ["result", "the end of with", "map", "workers in C code"])
def test_an_interrupt_of_the_parent_alone_ends_its_workers_too(program, place):
    family = program(PROGRAM.format(body=PLACES[place]))
    family.wait_for_line("ready")
    family.process.send_signal(signal.SIGINT)
    check_ended_by_one_interrupt(family)


@pytest.mark.parametrize("kind", ["Process", "Thread"])
def test_an_interrupt_while_the_interpreter_waits_for_pending_work_ends_it(program, kind):
    body = f"""
executor = {kind}PoolExecutor(max_workers=2)
futures = [executor.submit(tasks.nap, 1000) for _ in range(20)]
import threading
# Hooks run in reverse order, so this one says that the program ended and the pools' are next.
threading._register_atexit(print, "ready", flush=True)
while not futures[0].running(): time.sleep(0.01)
"""
    family = program(PROGRAM.format(body=body))
    family.wait_for_line("ready")
    time.sleep(0.2)
    family.interrupt()
    finished = family.wait(timeout_seconds=60)
    # The program itself had ended well; Python reports an interrupt during its exit and keeps 0.
    assert finished.status in (0, -signal.SIGINT), finished
    assert finished.err.count("Traceback (most recent call last)") <= 1, finished.err
    assert "KeyboardInterrupt" in finished.err
    family.assert_gone()


RANDOM_PROGRAM = """
import random
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait

print("ready", flush=True)
while True:
    for Executor in (ProcessPoolExecutor, ThreadPoolExecutor):
        with Executor(max_workers=2) as executor:
            futures = [executor.submit(tasks.nap, 0.001) for _ in range(20)]
            wait(futures[:10])
            for future in as_completed(futures):
                future.result()
            list(executor.map(tasks.square, range(50)))
            executor.submit(tasks.make_bytes, 1 << 20).result()
"""


@pytest.mark.parametrize("seed", range(5))
def test_an_interrupt_at_a_random_moment_ends_the_program_with_one_traceback(program, seed):
    random_source = random.Random(seed)
    for _ in range(6):
        family = program(RANDOM_PROGRAM)
        family.wait_for_line("ready")
        # The moment is the subject of the test, not a synchronisation.
        time.sleep(random_source.uniform(0, 0.4))
        interrupt_until_it_is_taken(family)
        check_ended_by_one_interrupt(family)


def test_a_program_that_catches_the_interrupt_goes_on_with_the_pool_it_has(run):
    finished = run(
        """
import os, signal, threading, time
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor

with ProcessPoolExecutor(max_workers=2) as executor:
    future = executor.submit(tasks.nap, 0.5)
    while not future.running(): time.sleep(0.005)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        future.result()
    except KeyboardInterrupt:
        print("caught")
    print(executor.submit(tasks.square, 6).result(60))
    future.result(60)
print("done")
"""
    )
    assert (finished.status, finished.out) == (0, "caught\n36\ndone\n"), finished.err


def test_a_program_that_ignores_the_interrupt_is_not_disturbed_by_its_workers(program):
    family = program(
        PROGRAM.format(
            body="""
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
with ProcessPoolExecutor(max_workers=2) as executor:
    futures = [executor.submit(tasks.nap, 1) for _ in range(2)]
    ready_when_running(*futures)
    pids = {future.result(60) for future in futures}
    assert pids <= set(executor._processes)
print("undisturbed", flush=True)
"""
        )
    )
    family.wait_for_line("ready")
    family.interrupt()
    finished = family.wait()
    assert (finished.status, finished.out) == (0, "ready\nundisturbed\n"), finished.err
