"""Programs as people write them: without guard, typed in, logging, nesting, ending carelessly.

Each test is a whole program in its own family; what it prints, its status, and that nobody is left
are what counts.
"""

import re
import sys

import pytest

pytestmark = pytest.mark.timeout(120)


def assert_printed(finished, *lines, status=0):
    assert finished.status == status, finished.err
    assert finished.out.splitlines() == list(lines), finished.err
    assert "Traceback" not in finished.err, finished.err


def test_a_script_without_guard_runs_its_top_level_once(run):
    finished = run(
        """
from manyhands.futures import ProcessPoolExecutor
print("top level")

def double(number):
    return number * FACTOR

FACTOR = 2

class Box:
    def __init__(self, value):
        self.value = value

def open_box(box):
    return Box(box.value + 1)

with ProcessPoolExecutor(max_workers=2) as executor:
    print(list(executor.map(double, range(5))))
    opened = executor.submit(open_box, Box(1)).result(60)
    print(type(opened) is Box, opened.value)
    print(executor.submit(lambda: FACTOR).result(60))
"""
    )
    assert_printed(finished, "top level", "[0, 2, 4, 6, 8]", "True 2", "2")


TYPED_IN = """
from manyhands.futures import ProcessPoolExecutor
def triple(number):
    return number * 3

executor = ProcessPoolExecutor(max_workers=2)
print(executor.submit(triple, 14).result(60))
class Point:
    x = 5

print(executor.submit(lambda p: p.x, Point()).result(60))
def triple(number):
    return number * 300

print(executor.submit(triple, 14).result(60))
executor.shutdown()
"""


@pytest.mark.parametrize("flags", [(), ("-i",)], ids=["a program on standard input", "python -i"])
def test_code_that_was_typed_in_runs_in_workers(run, flags):
    finished = run(TYPED_IN, stdin_script=True, flags=flags)
    assert finished.status == 0, finished.err
    assert [line for line in finished.out.split() if line.isdigit()] == ["42", "5", "4200"]
    assert "Traceback" not in finished.err, finished.err


def test_code_given_with_dash_c_runs_in_workers(run):
    finished = run(
        """
import subprocess, sys
code = '''
from manyhands.futures import ProcessPoolExecutor
def triple(number): return number * 3
with ProcessPoolExecutor(1) as executor: print(executor.submit(triple, 14).result(60))
'''
sys.exit(subprocess.run([sys.executable, "-c", code], timeout=50).returncode)
"""
    )
    assert_printed(finished, "42")


def test_code_run_by_exec_in_its_own_namespace_runs_in_workers(run):
    finished = run(
        """
code = '''
from manyhands.futures import ProcessPoolExecutor
OFFSET = 7
def add(number): return number + OFFSET
with ProcessPoolExecutor(1) as executor: print(executor.submit(add, 1).result(60))
'''
exec(compile(code, "<cell 1>", "exec"), {"__name__": "__main__"})
"""
    )
    assert_printed(finished, "8")


def test_workers_do_not_read_the_programs_standard_input(run):
    finished = run(
        """
import sys
from manyhands.futures import ProcessPoolExecutor
def read():
    return sys.stdin.read() if sys.stdin else ""
with ProcessPoolExecutor(1) as executor:
    print(repr(executor.submit(read).result(60)))
print("still here")
""",
        stdin_script=True,
    )
    assert_printed(finished, "''", "still here")


def test_a_worker_finds_modules_arguments_and_directory_as_the_parent_does(run, tmp_path):
    (tmp_path / "only_here.py").write_text("def answer():\n    return 42\n")
    finished = run(
        f"""
import os, sys
sys.path.insert(0, {str(tmp_path)!r})
os.chdir({str(tmp_path)!r})
os.environ["SET_AFTER_START"] = "yes"
import only_here
from manyhands.futures import ProcessPoolExecutor
def look():
    return sys.argv[1:], os.getcwd(), os.environ.get("SET_AFTER_START")
with ProcessPoolExecutor(1) as executor:
    print(executor.submit(only_here.answer).result(60))
    print(executor.submit(look).result(60) == look())
""",
        arguments=("one", "two"),
    )
    assert_printed(finished, "42", "True")


def test_what_workers_print_arrives_whole_and_in_their_own_order(run):
    finished = run(
        """
import sys
from manyhands.futures import ProcessPoolExecutor
def speak(number):
    print(f"worker line {number}")
    print(f"error line {number}", file=sys.stderr)
with ProcessPoolExecutor(max_workers=2) as executor:
    list(executor.map(speak, range(200)))
print("the end")
"""
    )
    lines = finished.out.splitlines()
    assert finished.status == 0, finished.err
    assert sorted(lines[:-1]) == sorted(f"worker line {n}" for n in range(200))
    assert lines[-1] == "the end"
    assert sorted(finished.err.splitlines()) == sorted(f"error line {n}" for n in range(200))


def test_what_a_worker_printed_before_it_was_killed_is_not_lost(run):
    finished = run(
        """
import os, signal
from manyhands.futures import ProcessPoolExecutor
def last_words():
    print("last words")
    os.kill(os.getpid(), signal.SIGKILL)
with ProcessPoolExecutor(max_workers=1) as executor:
    print(type(executor.submit(last_words).exception(60)).__name__)
"""
    )
    assert_printed(finished, "last words", "WorkerCrashed")


def test_what_the_parent_had_in_its_buffer_is_printed_once(run):
    finished = run(
        """
import sys, os
from manyhands.futures import ProcessPoolExecutor
sys.stdout = open(sys.stdout.fileno(), "w", buffering=1 << 16, closefd=False)
sys.stdout.write("once\\n")
with ProcessPoolExecutor(max_workers=2) as executor:
    list(executor.map(abs, range(10)))
    executor.submit(os._exit, 1).exception(60)
""",
    )
    assert_printed(finished, "once")


def test_logging_in_workers_follows_the_parents_configuration(run):
    finished = run(
        """
import logging, sys
from manyhands.futures import ProcessPoolExecutor
form = "%(levelname)s|%(name)s|%(message)s"
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format=form)
logging.getLogger("noisy").setLevel(logging.ERROR)
def work(number):
    logging.getLogger("kitchen").info("dish %d", number)
    logging.getLogger("kitchen").debug("never seen")
    logging.getLogger("noisy").warning("never seen")
with ProcessPoolExecutor(max_workers=2) as executor:
    list(executor.map(work, range(3)))
"""
    )
    assert finished.status == 0, finished.err
    assert sorted(finished.out.splitlines()) == [f"INFO|kitchen|dish {n}" for n in range(3)]


def test_logging_of_workers_reaches_the_parents_own_handlers(run):
    finished = run(
        """
import logging
from manyhands.futures import ProcessPoolExecutor
records = []
class Collect(logging.Handler):
    def emit(self, record):
        records.append((record.levelname, record.getMessage(), record.process))
logging.getLogger().addHandler(Collect())
logging.getLogger().setLevel("INFO")
def work():
    import os
    logging.info("from %s", "afar")
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("it broke")
    return os.getpid()
with ProcessPoolExecutor(max_workers=1) as executor:
    pid = executor.submit(work).result(60)
print(records == [("INFO", "from afar", pid), ("ERROR", "it broke", pid)], records)
"""
    )
    assert finished.status == 0, finished.err
    assert finished.out.startswith("True"), finished.out


def test_warning_filters_hold_in_workers(run):
    finished = run(
        """
import warnings
from manyhands.futures import ProcessPoolExecutor
def warn():
    warnings.warn("careful", UserWarning)
    return "not an error"
with ProcessPoolExecutor(max_workers=1) as executor:
    print(type(executor.submit(warn).exception(60)).__name__)
""",
        flags=("-W", "error"),
    )
    assert_printed(finished, "UserWarning")


def test_pools_nest(run):
    finished = run(
        """
import multiprocessing
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor

def inner(number):
    with ProcessPoolExecutor(max_workers=2) as executor:
        return sum(executor.map(tasks.square, range(number)))

def inner_threads(number):
    with ThreadPoolExecutor(max_workers=2) as executor:
        return sum(executor.map(tasks.square, range(number)))

def inner_process(number):
    child = multiprocessing.get_context("fork").Process(target=tasks.square, args=(number,))
    child.start()
    child.join()
    return child.exitcode

with ProcessPoolExecutor(max_workers=2) as executor:
    print(list(executor.map(inner, [3, 4, 5])))
    print(list(executor.map(inner_threads, [3, 4, 5])))
    print(list(executor.map(inner_process, [3, 4, 5])))
"""
    )
    assert_printed(finished, "[5, 14, 30]", "[5, 14, 30]", "[0, 0, 0]")


@pytest.mark.parametrize("kind", ["Process", "Thread"])
def test_pending_work_is_finished_when_the_program_ends_without_shutdown(run, kind, marks):
    finished = run(
        f"""
import hostile_tasks as tasks
from manyhands.futures import {kind}PoolExecutor
executor = {kind}PoolExecutor(max_workers=2)
def slow(number):
    tasks.nap(0.02)
    tasks.leave_mark({marks.path!r}, number)
for number in range(20):
    executor.submit(slow, number)
"""
    )
    assert finished.status == 0, finished.err
    assert sorted(map(int, marks.read())) == list(range(20))


@pytest.mark.parametrize("kind", ["Process", "Thread"])
@pytest.mark.parametrize("ending", ["sys.exit(3)", "raise LookupError('lost')", "del executor"])
def test_a_program_that_ends_in_any_way_keeps_its_own_status_and_leaves_nobody(run, kind, ending):
    finished = run(
        f"""
import sys
import hostile_tasks as tasks
from manyhands.futures import {kind}PoolExecutor
executor = {kind}PoolExecutor(max_workers=2)
futures = [executor.submit(tasks.nap, 0.05) for _ in range(4)]
{ending}
"""
    )
    expected = {"sys.exit(3)": 3, "del executor": 0}.get(ending, 1)
    assert finished.status == expected, finished.err
    assert finished.err.count("Traceback") == (expected == 1), finished.err


def test_a_program_that_ends_by_os_exit_leaves_nobody(program):
    family = program(
        """
import os
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor
executor = ProcessPoolExecutor(max_workers=2)
executor.submit(tasks.square, 3).result(60)
executor.submit(tasks.nap, 1000)
os._exit(5)
"""
    )
    assert family.wait().status == 5
    family.assert_gone()


def test_a_collected_executor_ends_its_workers_while_the_program_goes_on(run):
    finished = run(
        """
import gc
import family_watch, hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor
executor = ProcessPoolExecutor(max_workers=2)
future = executor.submit(tasks.nap, 0.2)
pid = future.result(60)
last = executor.submit(tasks.square, 5)
del executor
gc.collect()
print(last.result(60))
family_watch.wait_until_dead(pid)
print("gone")
"""
    )
    assert_printed(finished, "25", "gone")


def test_a_thread_that_outlives_the_main_thread_can_use_its_pool_or_is_told(run):
    finished = run(
        """
import threading
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor
pools = [ProcessPoolExecutor(max_workers=1), ThreadPoolExecutor(max_workers=1)]
def late():
    threading.main_thread().join()
    for pool in pools:
        try:
            print(pool.submit(tasks.square, 5).result(60))
        except RuntimeError as error:
            print("told:", "shutdown" in str(error))
for pool in pools: pool.submit(tasks.nothing).result(60)
threading.Thread(target=late).start()
"""
    )
    assert finished.status == 0, finished.err
    assert all(line in ("25", "told: True") for line in finished.out.splitlines()), finished.out
    assert len(finished.out.splitlines()) == 2, finished.err


def test_daemon_threads_in_the_middle_of_a_result_do_not_keep_the_program_from_ending(run):
    finished = run(
        """
import threading, time
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor
process_pool, thread_pool = ProcessPoolExecutor(max_workers=2), ThreadPoolExecutor(max_workers=2)
def use(pool):
    try:
        while True:
            pool.submit(tasks.square, 3).result()
    except RuntimeError:
        pass  # the interpreter is ending
for pool in (process_pool, thread_pool) * 3:
    threading.Thread(target=use, args=(pool,), daemon=True).start()
time.sleep(0.2)
print("end of main")
"""
    )
    assert (finished.status, finished.out) == (0, "end of main\n"), finished.err


def test_callbacks_that_are_still_to_come_do_not_disturb_the_end_of_the_program(run):
    finished = run(
        """
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor
executor = ProcessPoolExecutor(max_workers=2)
for _ in range(2000):
    executor.submit(tasks.nothing).add_done_callback(lambda future: future.result())
print("end of main")
"""
    )
    assert_printed(finished, "end of main")
    assert not finished.err, finished.err


def test_futures_of_a_pool_that_was_shut_down_do_not_hold_up_the_end(run):
    finished = run(
        """
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor
executor = ProcessPoolExecutor(max_workers=1)
running = executor.submit(tasks.nap, 0.2)
pending = [executor.submit(tasks.nap, 1000) for _ in range(5)]
while not running.running(): pass
executor.shutdown(wait=False, cancel_futures=True)
print("end of main")
"""
    )
    assert_printed(finished, "end of main")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_descriptor_thread_or_process_is_left_after_many_pools(run):
    finished = run(
        """
import os
import family_watch, hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor

def counts():
    return (
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
        len(family_watch.pids_with_token(os.environ[family_watch.TOKEN_NAME])),
    )

def use():
    with ProcessPoolExecutor(max_workers=2) as executor:
        list(executor.map(tasks.square, range(20)))
        executor.submit(tasks.die_by_os_exit, 1).exception(60)
        executor.options(timeout=0.05).submit(tasks.nap, 60).exception(60)
    with ThreadPoolExecutor(max_workers=2) as executor:
        list(executor.map(tasks.square, range(20)))

for _ in range(2): use()
before = counts()
for _ in range(15): use()
# A worker that was shut down may need a moment to be gone.
family_watch.wait_until(lambda: counts() <= before, "nothing is left", 20)
after = counts()
print(all(a <= b for a, b in zip(after, before)), before, after)
"""
    )
    assert finished.status == 0, finished.err
    assert re.match("True", finished.out), finished.out


@pytest.mark.parametrize("kind", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
@pytest.mark.parametrize(
    "end",
    [
        "executor.shutdown(wait=False, cancel_futures=True)",
        "executor.shutdown(cancel_futures=True)",
        "executor.shutdown(wait=False)",
        "executor.submit(kill).exception(); executor.shutdown(wait=False)",
    ],
)
def test_a_map_that_is_dropped_after_the_shutdown_says_nothing(run, kind, end):
    source = f"""
from manyhands.futures import {kind}

def kill():
    raise SystemExit

if __name__ == "__main__":
    executor = {kind}(1)
    results = executor.map(abs, range(100_000))
    {end}
    del results
    print("quiet")
"""
    finished = run(source)
    assert (finished.status, finished.out, finished.err) == (0, "quiet\n", "")


@pytest.mark.parametrize("kind", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
def test_a_shutdown_that_does_not_wait_still_runs_all_of_a_map(run, kind):
    source = f"""
from manyhands.futures import {kind}

def last(number):
    if number == 70_000:
        print("the last one", flush=True)

if __name__ == "__main__":
    executor = {kind}(1)
    results = executor.map(last, range(70_001))
    executor.shutdown(wait=False)
    del results
"""
    finished = run(source)
    assert (finished.status, finished.out, finished.err) == (0, "the last one\n", "")


@pytest.mark.parametrize("kind", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
def test_nothing_is_sized_by_the_greatest_number_of_workers(run, kind):
    source = f"""
import resource
from manyhands.futures import {kind}

if __name__ == "__main__":
    def use(max_workers):
        with {kind}(max_workers) as executor:
            assert executor.submit(abs, -1).result() == 1
            assert list(executor.map(abs, range(5), chunksize=2)) == list(range(5))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    few, many = use(2), use(10**9)
    assert many - few < 16 << 10, (few, many)
    print("no more")
"""
    finished = run(source)
    assert (finished.status, finished.out, finished.err) == (0, "no more\n", "")
