"""Shared values go anywhere in the family, and nowhere else."""

import ctypes
import gc
import os
import pickle
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler

import manyhands
import pytest
from manyhands import multiprocessing
from manyhands.futures import ProcessPoolExecutor
from manyhands.multiprocessing import shared_memory
from manyhands.multiprocessing import sharedctypes as shared

METHODS = ["template", "spawn", "fork"]


class Pair(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int), ("b", ctypes.c_double))


def everything():
    return {
        "value": shared.Value("i", 1),
        "array": shared.Array("d", [1, 2]),
        "raw value": shared.RawValue("q", 1),
        "raw array": shared.RawArray("h", [1, 2]),
        "structure": shared.Value(Pair, 1, 2),
        "text": shared.Array("c", 8),
    }


def change(objects):
    objects["value"].add(1)
    with objects["array"].get_lock():
        objects["array"][0] += 10
    objects["raw value"].value += 1
    objects["raw array"][1] += 1
    objects["structure"].a += 1
    objects["text"].value = b"hello"


def states(objects):
    return [
        objects["value"].value,
        objects["array"][:],
        objects["raw value"].value,
        objects["raw array"][:],
        (objects["structure"].a, objects["structure"].b),
        objects["text"].value,
    ]


CHANGED = [2, [11, 2], 2, [1, 3], (2, 2), b"hello"]


@pytest.mark.parametrize("method", METHODS)
def test_a_process_gets_them_as_arguments(method):
    objects = everything()
    process = multiprocessing.get_context(method).Process(target=change, args=(objects,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert states(objects) == CHANGED


def test_a_task_gets_them_as_arguments_and_in_a_closure():
    objects = everything()
    with ProcessPoolExecutor(max_workers=1) as executor:
        executor.submit(change, objects).result()
        assert states(objects) == CHANGED
        counter = objects["value"]
        assert executor.submit(lambda: counter.add(40)).result() == 42


def make_and_count():
    value = shared.Value("i", 5)
    value.add(1)
    return value, manyhands.shared_array(3, "i4")


def test_a_task_returns_one_that_it_made():
    pytest.importorskip("numpy")
    with ProcessPoolExecutor(max_workers=1) as executor:
        value, array = executor.submit(make_and_count).result()
    assert value.add(1) == 7
    array += 2
    assert array.tolist() == [2, 2, 2]


@pytest.mark.parametrize("dumps", [pickle.dumps, ForkingPickler.dumps], ids=["plain", "forking"])
def test_all_picklers_make_handles(dumps):
    objects = everything()
    # The lock is what it is; only what has none of the standard library's is pickled here.
    for name in ("raw value", "raw array"):
        again = pickle.loads(dumps(objects[name]))
        assert ctypes.addressof(again) == ctypes.addressof(objects[name])


def test_cloudpickle_makes_handles():
    cloudpickle = pytest.importorskip("cloudpickle")
    raw = shared.RawValue("i", 1)
    pickle.loads(cloudpickle.dumps(raw)).value = 2
    assert raw.value == 2


def outside(data):
    program = f"import pickle; pickle.loads({data!r})"
    root = os.path.dirname(os.path.dirname(manyhands.__file__))
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_handle_outside_of_the_family_says_so():
    finished = outside(pickle.dumps(shared.RawValue("i", 1)))
    assert "HandleError: this shared memory belongs to another family" in finished.stderr


def test_blocks_are_given_back():
    def use():
        objects = everything()
        change(objects)
        block = shared_memory.SharedMemory(create=True, size=1_000_000)
        block.close()
        block.unlink()
        return objects

    kept = use()
    gc.collect()
    before = manyhands._runtime.heap_usage()
    for _ in range(50):
        use()
    gc.collect()
    after = manyhands._runtime.heap_usage()
    assert after[0] <= before[0], (before, after)
    del kept


def test_a_heap_that_is_full_is_a_memory_error():
    program = """
from manyhands.multiprocessing import sharedctypes as shared, shared_memory
import manyhands
kept = []
for make in (
    lambda: shared.Array("d", 100_000),
    lambda: shared.Value("i"),
    lambda: shared_memory.SharedMemory(create=True, size=300_000),
):
    try:
        for _ in range(100_000):
            kept.append(make())
    except MemoryError as error:
        print("MemoryError:", error)
kept[0][0] = 5.0
kept.clear()
print(shared.Value("i", 4).add(1))
"""
    root = os.path.dirname(os.path.dirname(manyhands.__file__))
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
            "MANYHANDS_HEAP_LIMIT": "4000000",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.stdout.count("MemoryError: ") == 3, finished.stdout + finished.stderr
    assert finished.stdout.splitlines()[-1] == "5"
    assert not finished.stderr
