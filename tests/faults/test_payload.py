"""Arguments and results of every size, and what does not fit.

The limit of the shared heap is set with MANYHANDS_HEAP_LIMIT (bytes) in a program of its own, so
that it concerns nobody else.
"""

import gc
import os
import pathlib
import re
import weakref

import hostile_tasks as tasks
import kept_tasks
import pytest
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor

pytestmark = pytest.mark.timeout(240)

MIB = 1 << 20


def available_memory_bytes():
    text = pathlib.Path("/proc/meminfo").read_text()
    return int(re.search(r"MemAvailable:\s+(\d+) kB", text)[1]) * 1024


@pytest.fixture
def pool():
    with ProcessPoolExecutor(max_workers=2) as executor:
        yield executor


@pytest.mark.parametrize("empty", [b"", "", (), [], {}, None, bytearray()], ids=repr)
def test_empty_payloads_go_and_come_back_as_they_are(pool, empty):
    result = pool.submit(tasks.identity, empty).result(60)
    assert result == empty
    assert type(result) is type(empty)


@pytest.mark.parametrize(
    "n_bytes",
    [1, 63, 64, 65, 4095, 4096, 4097, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 40 * MIB + 7],
)
def test_payloads_around_every_boundary_are_whole(pool, n_bytes):
    payload = os.urandom(min(n_bytes, 1 << 16)) * (n_bytes // (1 << 16) + 1)
    payload = payload[:n_bytes]
    assert pool.submit(tasks.identity, payload).result(60) == payload
    assert pool.submit(tasks.identity, bytearray(payload)).result(60) == payload


@pytest.mark.any_python
def test_a_gibibyte_goes_there_and_back(pool):
    if available_memory_bytes() < 8 << 30:
        pytest.skip("needs 8 GiB of free memory")
    payload = b"manyhands" * ((1 << 30) // 9)
    assert pool.submit(tasks.length_of, payload).result(120) == len(payload)
    del payload
    result = pool.submit(tasks.make_bytes, 1 << 30).result(120)
    assert len(result) == 1 << 30
    assert result.count(0) == 1 << 30


def test_more_than_two_gibibytes_go_in_one_piece(pool):
    if not os.environ.get("MANYHANDS_TEST_HUGE"):
        pytest.skip("set MANYHANDS_TEST_HUGE=1 on a machine with 16 GiB to spare")
    size = (2 << 30) + 17
    assert pool.submit(tasks.length_of, bytes(size)).result(240) == size
    assert len(pool.submit(tasks.make_bytes, size).result(240)) == size


def test_many_small_results_pass_under_a_big_one(pool):
    big = pool.submit(tasks.make_bytes, 256 * MIB)
    small = [pool.submit(tasks.square, n) for n in range(2_000)]
    assert [future.result(60) for future in small] == [n * n for n in range(2_000)]
    assert len(big.result(60)) == 256 * MIB


def test_a_numpy_array_arrives_whole_and_writable_or_clearly_read_only(pool):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(3 * MIB, dtype=numpy.float64).reshape(3, -1)
    result = pool.submit(tasks.identity, array).result(60)
    assert (result == array).all()
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    # What the program does to the result must not reach the argument, and must not crash.
    result[0, 0] = -1.0
    assert array[0, 0] == 0.0


def test_a_result_stays_valid_after_its_pool_is_gone():
    with ProcessPoolExecutor(max_workers=1) as executor:
        result = executor.submit(tasks.make_bytes, 8 * MIB).result(60)
        numpy = pytest.importorskip("numpy")
        array = executor.submit(numpy.full, MIB, 7).result(60)
    gc.collect()
    assert result == bytes(8 * MIB)
    assert (array == 7).all()


HEAP_PROGRAM = """
import os
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor

MIB = 1 << 20
with ProcessPoolExecutor(max_workers=2) as executor:
    assert executor.submit(tasks.square, 3).result(60) == 9
    for _ in range(5):
        good = [executor.submit(tasks.square, n) for n in range(20)]
        too_large = {too_large}
        error = too_large.exception(60)
        assert isinstance(error, MemoryError), repr(error)
        assert [future.result(60) for future in good] == [n * n for n in range(20)]
        # What was not delivered does not stay in the heap: this fits as well as the first time.
        assert len(executor.submit(tasks.make_bytes, 8 * MIB).result(60)) == 8 * MIB
        assert executor.submit(tasks.length_of, bytes(8 * MIB)).result(60) == 8 * MIB
print(error)
"""


@pytest.mark.parametrize(
    "too_large",
    [
        "executor.submit(tasks.length_of, bytes(256 * MIB))",
        "executor.submit(tasks.make_bytes, 256 * MIB)",
        "executor.submit(tasks.length_of, bytearray(256 * MIB))",
    ],
    ids=["argument", "result", "out-of-band argument"],
)
def test_what_is_larger_than_the_heap_is_a_memory_error_of_its_own_future(run, too_large):
    finished = run(
        HEAP_PROGRAM.format(too_large=too_large), env={"MANYHANDS_HEAP_LIMIT": str(64 * MIB)}
    )
    assert finished.status == 0, finished.err
    assert finished.out.strip(), "the message says what to do"


def test_a_full_heap_is_an_error_not_a_crash_and_empties_again(run):
    finished = run(
        """
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor

MIB = 1 << 20
with ProcessPoolExecutor(max_workers=2) as executor:
    futures = [executor.submit(tasks.length_of, bytes(4 * MIB)) for _ in range(200)]
    kinds = {type(future.exception(60)) for future in futures}
    assert kinds <= {type(None), MemoryError}, kinds
    # Results that nobody has taken yet fill it too.
    futures = [executor.submit(tasks.make_bytes, 4 * MIB) for _ in range(200)]
    kinds = {type(future.exception(60)) for future in futures}
    assert kinds <= {type(None), MemoryError}, kinds
    del futures
    for _ in range(100):
        assert executor.submit(tasks.length_of, bytes(4 * MIB)).result(60) == 4 * MIB
print("done")
""",
        env={"MANYHANDS_HEAP_LIMIT": str(64 * MIB)},
    )
    assert (finished.status, finished.out) == (0, "done\n"), finished.err


@pytest.mark.parametrize("kind", [ProcessPoolExecutor, ThreadPoolExecutor])
@pytest.mark.parametrize("task", ["argument", "result", "error"])
def test_a_worker_keeps_nothing_of_a_task_that_ended(kind, task):
    with kind(max_workers=1) as executor:
        executor.submit(kept_tasks.forget).result(60)
        if task == "argument":
            executor.submit(kept_tasks.watch_argument, kept_tasks.Kept()).result(60)
        elif task == "result":
            executor.submit(kept_tasks.watch_result).result(60)
        else:
            assert executor.submit(kept_tasks.watch_error).exception(60)
        assert executor.submit(kept_tasks.n_still_alive).result(60) == 0


@pytest.mark.parametrize("kind", [ProcessPoolExecutor, ThreadPoolExecutor])
def test_the_parent_keeps_no_argument_of_a_task_that_ended(kind):
    with kind(max_workers=1) as executor:
        argument = kept_tasks.Kept()
        watched = weakref.ref(argument)
        future = executor.submit(kept_tasks.take, argument)
        future.result(60)
        del argument
        # A second task, so that the worker has certainly let go of the first one.
        executor.submit(kept_tasks.take, None).result(60)
        gc.collect()
        assert watched() is None
        assert future.done()


@pytest.mark.parametrize("kind", [ProcessPoolExecutor, ThreadPoolExecutor])
def test_a_result_dies_with_its_future(kind):
    with kind(max_workers=1) as executor:
        watched = weakref.ref(executor.submit(kept_tasks.Kept).result(60))
        executor.submit(kept_tasks.take, None).result(60)
        gc.collect()
        assert watched() is None


def test_map_lets_go_of_results_that_were_taken():
    with ThreadPoolExecutor(max_workers=1) as executor:
        results = executor.map(lambda _: kept_tasks.Kept(), range(3))
        watched = weakref.ref(next(results))
        next(results)
        executor.submit(kept_tasks.take, None).result(60)
        gc.collect()
        assert watched() is None


def test_no_file_appears_in_dev_shm(run):
    finished = run(
        """
import os, threading
import family_watch, hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor

seen, stop, looks = set(), threading.Event(), 0

def look():
    # Maps and descriptors show a file of /dev/shm also after it was unlinked.
    global looks
    while not stop.is_set():
        for pid in family_watch.pids_with_token(os.environ[family_watch.TOKEN_NAME]):
            lines = family_watch._read(pid, "maps").decode(errors="replace").splitlines()
            seen.update(line.split(None, 5)[-1] for line in lines if "/dev/shm" in line)
            try:
                for descriptor in os.scandir(f"/proc/{pid}/fd"):
                    target = os.readlink(descriptor.path)
                    if target.startswith("/dev/shm"): seen.add(target)
            except OSError:
                pass
        looks += 1

watcher = threading.Thread(target=look)
watcher.start()
n_rounds = 0
while n_rounds < 5 or looks < 4:
    n_rounds += 1
    with ProcessPoolExecutor(2) as executor, ThreadPoolExecutor(2) as threads:
        list(executor.map(tasks.square, range(500)))
        list(threads.map(tasks.square, range(500)))
        executor.submit(tasks.length_of, bytes(8 << 20)).result(60)
        executor.submit(tasks.make_bytes, 8 << 20).result(60)
        executor.submit(tasks.die_by_os_exit, 1).exception(60)
        assert executor.submit(tasks.square, 3).result(60) == 9
stop.set()
watcher.join()
print(sorted(seen))
"""
    )
    assert (finished.status, finished.out) == (0, "[]\n"), finished.err
