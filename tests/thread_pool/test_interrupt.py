"""Ctrl-C: one press ends a program that waits for a thread pool, wherever it waits.

Each program prints READY when it is where it shall be interrupted. It must end by SIGINT, as
Python programs do, with one KeyboardInterrupt on its screen, although its tasks run for minutes.
"""

import os
import signal
import subprocess
import sys

import pytest

WATCHDOG_S = 60

PROLOGUE = """
import sys, threading, time
from manyhands.futures import ThreadPoolExecutor, wait, as_completed

def ready():
    # Told from another thread, when the main thread is (almost surely) where it will be hit.
    def tell():
        time.sleep(0.2)
        print("READY", flush=True)
    threading.Thread(target=tell, daemon=True).start()

def in_c_code():
    time.sleep(300)

def in_bytecode():
    while True:
        pass

pool = ThreadPoolExecutor(2)
"""

PLACES = {
    "result": """
pool.submit(BODY); pool.submit(BODY)
waiting = pool.submit(BODY)
ready()
waiting.result()
""",
    "result_with_timeout": """
future = pool.submit(BODY)
ready()
future.result(timeout=200)
""",
    "exception": """
future = pool.submit(BODY)
ready()
future.exception()
""",
    "wait": """
futures = [pool.submit(BODY) for _ in range(5)]
ready()
wait(futures)
""",
    "as_completed": """
futures = [pool.submit(BODY) for _ in range(5)]
ready()
for future in as_completed(futures):
    pass
""",
    "map": """
ready()
list(pool.map(lambda _: BODY(), range(10)))
""",
    "map_in_with": """
with pool:
    ready()
    list(pool.map(lambda _: BODY(), range(10)))
""",
    "shutdown": """
for _ in range(5):
    pool.submit(BODY)
ready()
pool.shutdown()
""",
    "with_exit": """
with pool:
    for _ in range(5):
        pool.submit(BODY)
    ready()
""",
    "body_of_with": """
with pool:
    for _ in range(5):
        pool.submit(BODY)
    ready()
    time.sleep(300)
""",
    "interpreter_exit": """
for _ in range(5):
    pool.submit(BODY)
ready()
""",
    "many_timeouts": """
for _ in range(5):
    pool.options(timeout=200).submit(BODY)
ready()
pool.shutdown()
""",
}


def run_and_interrupt(program):
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        assert process.stdout.readline() == "READY\n", process.stderr.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WATCHDOG_S)
    finally:
        process.kill()
        process.wait()
    return process.returncode, errors


@pytest.mark.parametrize("body", ["in_c_code", "in_bytecode"])
@pytest.mark.parametrize("place", PLACES)
def test_one_ctrl_c_ends_the_program_with_one_traceback(place, body):
    status, errors = run_and_interrupt(PROLOGUE + PLACES[place].replace("BODY", body))
    assert status == -signal.SIGINT, errors
    assert errors.count("KeyboardInterrupt") == 1, errors
    assert errors.count("Traceback (most recent call last)") == 1, errors
    assert "Exception ignored" not in errors


def test_a_program_that_catches_ctrl_c_goes_on_and_ends_well():
    program = (
        PROLOGUE
        + """
try:
    with pool:
        pool.submit(in_bytecode)
        pool.submit(in_c_code)
        waiting = pool.submit(in_c_code)
        ready()
except KeyboardInterrupt:
    assert waiting.cancelled()
    with ThreadPoolExecutor(1) as other:
        assert other.submit(abs, -1).result() == 1
    sys.exit(7)
"""
    )
    status, errors = run_and_interrupt(program)
    assert (status, errors) == (7, "")
