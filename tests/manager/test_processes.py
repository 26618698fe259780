"""Several processes work on managed containers at once; some are killed meanwhile."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from manyhands import multiprocessing
from manyhands.futures import CancelledError
from manyhands.multiprocessing import Manager
from manyhands.threading import Thread

N_PROCESSES = 8
METHODS = ("template", "spawn", "fork")


def add(counts, numbers, log):
    for n in range(200):
        counts.add("all")
        counts[os.getpid()] = n
        numbers.append(n)
        with counts.locked():
            counts["left"] += 1
            counts["right"] = counts["left"]
    log.update_item("who", lambda who: [*who, os.getpid()])


@pytest.mark.parametrize("method", METHODS)
def test_eight_processes_lose_nothing(method):
    context = multiprocessing.get_context(method)
    with Manager() as manager:
        counts, numbers = manager.dict(left=0, right=0), manager.list()
        log = manager.dict(who=[])
        processes = [
            context.Process(target=add, args=(counts, numbers, log)) for _ in range(N_PROCESSES)
        ]
        for process in processes:
            process.start()
        # Whoever looks in one block sees both or neither.
        while any(process.is_alive() for process in processes):
            with counts.locked():
                assert counts["left"] == counts["right"]
        for process in processes:
            process.join()
            assert process.exitcode == 0
        assert counts["all"] == counts["left"] == 200 * N_PROCESSES
        assert sorted(numbers) == sorted(list(range(200)) * N_PROCESSES)
        assert sorted(log["who"]) == sorted(process.pid for process in processes)
        assert all(counts[process.pid] == 199 for process in processes)


def use_nested(queue):
    inner = queue.get()
    inner["list"].append("from the child")
    queue.put(inner["list"])


def test_nested_objects_travel_by_queue():
    queue = multiprocessing.Queue()
    with Manager() as manager:
        process = multiprocessing.Process(target=use_nested, args=(queue,))
        process.start()
        # Nobody but the message has them.
        queue.put(manager.dict(list=manager.list()))
        process.join()
        assert queue.get(timeout=30)[:] == ["from the child"]


def end_in_locked_block(d, started):
    with d.locked():
        started["yes"] = True
        os._exit(1)


def test_the_lock_of_a_dead_process_is_free():
    with Manager() as manager:
        d, started = manager.dict(), manager.dict()
        process = multiprocessing.Process(target=end_in_locked_block, args=(d, started))
        process.start()
        process.join()
        assert started["yes"]
        d["a"] = 1
        with d.locked(timeout=30):
            assert d["a"] == 1


def test_a_locked_block_keeps_other_threads_out():
    with Manager() as manager:
        d = manager.dict(n=0)
        seen = []

        def look():
            seen.append(d["n"])

        with d.locked():
            with d.locked():
                d["n"] = 1
            thread = threading.Thread(target=look)
            thread.start()
            # It cannot have looked before the block ends, however long that takes.
            time.sleep(0.05)
            assert seen == []
            d["n"] = 2
        thread.join()
        assert seen == [2]


def test_a_locked_block_has_a_timeout():
    with Manager() as manager:
        d = manager.dict()
        entered, leave = threading.Event(), threading.Event()

        def hold():
            with d.locked():
                entered.set()
                leave.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        entered.wait()
        with pytest.raises(TimeoutError, match="locked"), d.locked(timeout=0.02):
            pass
        leave.set()
        thread.join()
        with d.locked(timeout=30):
            pass
        with pytest.raises(RuntimeError, match="does not hold"):
            d._open_gate()


OPERATIONS = {
    "lookup": lambda d: d["n"],
    "locked block": lambda d: d.locked().__enter__(),
    "locked block with a timeout": lambda d: d.locked(timeout=3600).__enter__(),
    "addition": lambda d: d.add("n"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_thread_that_waits_for_a_locked_block_can_be_cancelled(operation):
    with Manager() as manager:
        d = manager.dict(n=0)
        with d.locked():
            thread = Thread(target=OPERATIONS[operation], args=(d,))
            thread.start()
            time.sleep(0.05)  # It may wait by then, or not yet: both must work.
            assert thread.cancel()
            thread.join()
            with pytest.raises(CancelledError):
                thread.result()
        with d.locked(timeout=30):
            assert d["n"] == 0


def test_a_cancel_at_any_moment_leaves_no_block_locked():
    with Manager() as manager:
        d = manager.dict(n=0)

        def enter_and_leave(begun):
            begun.set()
            while True:
                with d.locked():
                    pass

        for _ in range(50):
            begun = threading.Event()
            thread = Thread(target=enter_and_leave, args=(begun,))
            thread.start()
            begun.wait()
            thread.cancel()
            thread.join()
            with pytest.raises(CancelledError):
                thread.result()
            with d.locked(timeout=30):
                d["n"] += 1
        assert d["n"] == 50


def test_keys_that_are_equal_only_by_comparison_are_never_doubled():
    with Manager() as manager:
        d = manager.dict()
        processes = [multiprocessing.Process(target=add_sets, args=(d,)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            assert process.exitcode == 0
        assert len(d) == 5
        assert sum(d.values()) == 4 * 5 * 20


def add_sets(d):
    for _ in range(20):
        for n in range(5):
            # The order of a set of texts, and so its pickle, differs between processes.
            key = frozenset(f"{n}-{part}" for part in "abcdef")
            d.update_item(key, lambda value: value + 1, 0)


def test_a_shortage_of_memory_is_an_error_and_changes_nothing():
    program = """
from manyhands.multiprocessing import Manager
manager = Manager()
d, l = manager.dict(a=1), manager.list([1])
def fill(step):
    try:
        for n in range(10**6):
            step(n)
    except MemoryError as error:
        assert "shared memory" in str(error), error
    else:
        raise SystemExit("no MemoryError")
fill(lambda n: d.__setitem__(n, "x" * 100_000))
fill(lambda n: l.append("y" * 1000))
assert d["a"] == 1 and len(d) == len(d.keys()) and l[0] == 1
n = len(d)
d.popitem()
assert len(d) == n - 1
d.clear(); l.clear()
d.update(a=1); l.extend("abc" * 10)
print("fine", len(d), len(l))
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "MANYHANDS_HEAP_LIMIT": str(16 << 20)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.stdout.strip() == "fine 1 30", run.stderr


def test_killed_processes_leave_containers_whole():
    n_kills = int(os.environ.get("MANYHANDS_KILLS", "40"))
    program = Path(__file__).with_name("kill_fuzz_program.py")
    run = subprocess.run(
        [sys.executable, program, str(n_kills), "11"],
        stdout=subprocess.PIPE,
        text=True,
        timeout=110 if n_kills <= 100 else None,
    )
    assert run.returncode == 0
    found = json.loads(run.stdout)
    assert found["n_killed"] == n_kills
    assert found["faults"] == []
