"""Limits on memory of every sort, which may be there before the first use or come at any time.

What fits works. What does not fit is a MemoryError for the one who asked, and everybody else, and
the pool, goes on.
"""

import errno
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from control_group import ENTER, memory_group
from seccomp import REFUSE

pytestmark = pytest.mark.timeout(180)

MIB = 1 << 20
METHODS = ["template", "spawn", "fork"]

LIMITS = """
import resource

MIB = 1 << 20


def set_soft(limit, n_bytes):
    resource.setrlimit(limit, (n_bytes, resource.getrlimit(limit)[1]))


def allow(more):
    "From now on this process may map `more` bytes than it has."
    with open("/proc/self/statm") as statm:
        n_pages = int(statm.read().split()[0])
    set_soft(resource.RLIMIT_AS, n_pages * resource.getpagesize() + more)


def allow_everything():
    set_soft(resource.RLIMIT_AS, resource.RLIM_INFINITY)


def refused(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except MemoryError as error:
        return str(error)
    raise AssertionError("that fits")
"""


def well(finished):
    assert (finished.status, finished.out, finished.err) == (0, "well\n", "")


@pytest.mark.parametrize("method", METHODS)
def test_a_program_that_limits_its_address_space_after_the_first_use_goes_on(run, method):
    source = LIMITS + (
        "import threading\n"
        "from manyhands import multiprocessing\n"
        "from manyhands.futures import ProcessPoolExecutor\n"
        "def echo(value): return value\n"
        "def put(queue): queue.put(bytes(3 * MIB))\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    queue = context.Queue(); queue.put(1); assert queue.get() == 1\n"
        "    set_soft(resource.RLIMIT_AS, 4096 * MIB)\n"
        "    assert len(bytearray(50 * MIB)) == 50 * MIB\n"
        "    thread = threading.Thread(target=echo, args=(1,)); thread.start(); thread.join()\n"
        "    data = bytes(8 * MIB)\n"
        "    with context.Pool(2) as pool: assert pool.map(echo, [data] * 4) == [data] * 4\n"
        "    with ProcessPoolExecutor(2, mp_context=context) as executor:\n"
        "        assert executor.submit(echo, data).result() == data\n"
        "    process = context.Process(target=put, args=(queue,))\n"
        "    process.start(); assert queue.get() == bytes(3 * MIB); process.join()\n"
        "    assert process.exitcode == 0\n"
        "    shared = context.Array('d', 1_000_000); shared[999_999] = 1.5\n"
        "    print('well')\n"
    )
    well(run(source))


def test_a_program_begins_and_works_under_a_limit_on_address_space(run):
    source = LIMITS + (
        "allow(700 * MIB)\n"
        "from manyhands import multiprocessing\n"
        "from manyhands.futures import ProcessPoolExecutor\n"
        "def echo(value): return value\n"
        "if __name__ == '__main__':\n"
        "    data = bytes(8 * MIB)\n"
        "    with ProcessPoolExecutor(2) as executor:\n"
        "        assert executor.submit(echo, data).result() == data\n"
        "    queue = multiprocessing.Queue(); queue.put(data); assert queue.get() == data\n"
        "    assert 'address space is limited' in refused(multiprocessing.Array, 'b', 1024 * MIB)\n"
        "    print('well')\n"
    )
    well(run(source))


def test_a_worker_with_little_address_space_sees_any_amount_of_data_in_turn(run):
    source = LIMITS + (
        "from manyhands import multiprocessing\n"
        "from manyhands.futures import ProcessPoolExecutor\n"
        "def drain(queue, n):\n"
        "    allow(100 * MIB)\n"
        "    return sum(len(queue.get()) for _ in range(n))\n"
        "if __name__ == '__main__':\n"
        "    data = bytes(8 * MIB)\n"
        "    with ProcessPoolExecutor(1, initializer=allow, initargs=(100 * MIB,)) as executor:\n"
        "        futures = [executor.submit(len, data) for _ in range(50)]\n"
        "        assert [future.result() for future in futures] == [8 * MIB] * 50\n"
        "    queue = multiprocessing.Queue()\n"
        "    for _ in range(50): queue.put(data)\n"
        "    with ProcessPoolExecutor(1) as executor:\n"
        "        assert executor.submit(drain, queue, 50).result() == 50 * 8 * MIB\n"
        "    print('well')\n"
    )
    well(run(source))


@pytest.mark.parametrize("method", METHODS)
def test_workers_that_their_initializer_limits_work_and_refuse_what_is_too_large(run, method):
    source = LIMITS + (
        "from manyhands import multiprocessing\n"
        "from manyhands.futures import ProcessPoolExecutor\n"
        "def echo(value): return value\n"
        "def make(n): return bytes(n)\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    options = {'initializer': allow, 'initargs': (200 * MIB,), 'mp_context': context}\n"
        "    data = bytes(8 * MIB)\n"
        "    with ProcessPoolExecutor(2, **options) as executor:\n"
        "        for _ in range(3):\n"
        "            assert list(executor.map(echo, [data] * 8)) == [data] * 8\n"
        "            refused(executor.submit(make, 300 * MIB).result)\n"
        "            refused(executor.submit(len, bytes(300 * MIB)).result)\n"
        "            assert executor.submit(echo, 1).result() == 1\n"
        "        pids = {executor.submit(__import__('os').getpid).result() for _ in range(50)}\n"
        "        assert pids <= set(executor._processes), 'a worker was lost'\n"
        "    with context.Pool(2, allow, (200 * MIB,)) as pool:\n"
        "        assert pool.map(echo, [data] * 8) == [data] * 8\n"
        "        refused(pool.apply, make, (300 * MIB,))\n"
        "    print('well')\n"
    )
    well(run(source))


def test_a_result_that_the_program_cannot_map_is_its_futures_and_the_pool_goes_on(run):
    # One worker: a second one, which is started later, would have the program's limit.
    source = LIMITS + (
        "from manyhands.futures import ProcessPoolExecutor\n"
        "def make(n): return bytes(n)\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1) as executor:\n"
        "        assert executor.submit(make, 10).result() == bytes(10)\n"
        "        allow(100 * MIB)\n"
        "        for _ in range(3):\n"
        "            good = [executor.submit(make, 5 * MIB) for _ in range(4)]\n"
        "            bad = executor.submit(make, 150 * MIB)\n"
        "            assert 'address space is limited' in refused(bad.result)\n"
        "            assert all(future.result() == bytes(5 * MIB) for future in good)\n"
        "            del good\n"
        "        allow_everything()\n"
        "        assert len(executor.submit(make, 150 * MIB).result()) == 150 * MIB\n"
        "    print('well')\n"
    )
    well(run(source))


def test_an_item_that_its_getter_cannot_map_stays_in_the_queue(run):
    source = LIMITS + (
        "from manyhands import multiprocessing\n"
        "def put(queue, n):\n"
        "    queue.put(bytes(n)); queue.put('next')\n"
        "def get(queue, answers): answers.put(len(queue.get()))\n"
        "if __name__ == '__main__':\n"
        "    queue, answers = multiprocessing.Queue(), multiprocessing.Queue()\n"
        "    def elsewhere(target, *args):\n"
        "        process = multiprocessing.Process(target=target, args=args)\n"
        "        process.start(); process.join(); assert process.exitcode == 0\n"
        "    for get_it in (queue.get, lambda: queue.get_many(5)):\n"
        "        elsewhere(put, queue, 150 * MIB)\n"
        "        allow(100 * MIB)\n"
        "        for _ in range(3): assert 'address space is limited' in refused(get_it)\n"
        "        assert queue.qsize() == 2\n"
        "        allow_everything()\n"
        "        elsewhere(get, queue, answers)\n"
        "        assert answers.get() == 150 * MIB\n"
        "        assert queue.get() == 'next'\n"
        "    print('well')\n"
    )
    well(run(source))


def test_a_managed_dict_that_cannot_be_mapped_is_not_left_locked(run):
    source = LIMITS + (
        "from manyhands import multiprocessing\n"
        "def fill(shared, n, go):\n"
        "    go.wait()\n"
        "    for i in range(n): shared[i] = bytes(400)\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.Manager() as manager:\n"
        "        shared = manager.dict()\n"
        "        shared['first'] = 1\n"
        "        go = multiprocessing.Event()\n"
        "        process = multiprocessing.Process(target=fill, args=(shared, 60_000, go))\n"
        "        process.start()\n"  # It gets no limit.
        "        allow(8 * MIB)\n"
        "        go.set(); process.join(); assert process.exitcode == 0\n"
        "        assert 'address space is limited' in refused(shared.get, 5)\n"
        "        assert 'address space is limited' in refused(shared.__setitem__, 5, 6)\n"
        "        allow_everything()\n"
        "        assert len(shared) == 60_001 and shared['first'] == 1\n"
        "    print('well')\n"
    )
    well(run(source))


def test_a_limit_on_the_size_of_files_is_in_nobodys_way(run):
    source = LIMITS + (
        "set_soft(resource.RLIMIT_FSIZE, MIB)\n"
        "from manyhands import multiprocessing\n"
        "from manyhands.futures import ProcessPoolExecutor\n"
        "def echo(value): return value\n"
        "if __name__ == '__main__':\n"
        "    data = bytes(8 * MIB)\n"
        "    with ProcessPoolExecutor(1) as executor:\n"
        "        assert executor.submit(echo, data).result() == data\n"
        "        set_soft(resource.RLIMIT_FSIZE, 0)\n"
        "        assert executor.submit(echo, data * 4).result() == data * 4\n"
        "        set_soft(resource.RLIMIT_FSIZE, MIB)\n"  # For what is printed.
        "    print('well')\n"
    )
    well(run(source))


@pytest.mark.parametrize("limit", ["64M", "64m", "64MiB", " 65536 K", "0.0625G", str(64 * MIB)])
def test_the_limit_of_the_heap_takes_units(run, limit):
    source = LIMITS + (
        "from manyhands import multiprocessing\n"
        "assert f'limited to {64 * MIB} bytes' in refused(multiprocessing.Array, 'b', 65 * MIB)\n"
        "print('well')\n"
    )
    well(run(source, env={"MANYHANDS_HEAP_LIMIT": limit}))


@pytest.mark.parametrize("limit", ["", "lots", "-1", "1.5", "0", "1e9", "5X"])
def test_a_limit_of_the_heap_that_is_no_size_is_refused_with_what_is_expected(run, limit):
    source = "from manyhands import multiprocessing\nmultiprocessing.Queue()\n"
    finished = run(source, env={"MANYHANDS_HEAP_LIMIT": limit})
    assert finished.status == 1
    last_line = finished.err.splitlines()[-1]
    assert "MANYHANDS_HEAP_LIMIT" in last_line and repr(limit).strip("'") in last_line
    assert "as in 512M" in last_line


EVERYTHING = """
from manyhands import multiprocessing
from manyhands.futures import ProcessPoolExecutor


def echo(value):
    return value


def put(queue):
    queue.put(bytes(3 << 20))
    raise SystemExit(3)


if __name__ == "__main__":
    data = bytes(8 << 20)
    with ProcessPoolExecutor(2) as executor:
        assert list(executor.map(echo, [data] * 6)) == [data] * 6
    for method in ("template", "spawn", "fork"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=put, args=(queue,))
        process.start()
        assert queue.get() == bytes(3 << 20)
        process.join()
        assert process.exitcode == 3
    print("well")
"""


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS], ids=["EPERM", "ENOSYS"])
@pytest.mark.parametrize(
    "calls",
    [["memfd_create"], ["memfd_create", "fallocate"], ["madvise", "fallocate"]],
    ids="+".join,
)
def test_shared_memory_works_without(run, calls, error):
    well(run(f"{REFUSE}\nrefuse({calls}, {error})\n" + EVERYTHING))


def test_memory_that_cannot_be_had_at_all_is_an_error_that_names_the_call(run):
    source = (
        "from manyhands import _runtime\n"
        f"{REFUSE}\nrefuse(['memfd_create', 'open', 'openat'], {errno.EPERM})\n"
        "_runtime.memory_file('a test')\n"
    )
    finished = run(source)
    assert finished.status == 1
    assert "shared memory needs the system call memfd_create" in finished.err
    assert "allow memfd_create in the seccomp profile" in finished.err


FILL = """
import gc
from manyhands import multiprocessing
from manyhands.futures import ProcessPoolExecutor, wait

MIB = 1 << 20


def make(n):
    return bytes(n)


def fill(queue, item):
    "Puts it until there is no memory for it; says how often."
    n = 0
    while True:
        try:
            queue.put(item)
        except MemoryError as error:
            assert "available" in str(error), error
            return n
        n += 1
        assert n * len(item) < 400 * MIB, "more than there is"
"""


@pytest.fixture
def run_in_group(run):
    """Run a program in a control group with 400 MB of memory."""
    with memory_group(400_000_000) as group:
        if group is None:
            pytest.skip("no control group can be made here: that takes root, and a writable cgroup")
        yield lambda source: run(ENTER + source, env={"MANYHANDS_TEST_GROUP": str(group)})


@pytest.mark.parametrize("n_bytes", [300, 3_000, 50_000, 2 * MIB, 30 * MIB])
def test_a_queue_that_fills_a_container_is_a_memory_error_and_works_when_drained(
    run_in_group, n_bytes
):
    source = FILL + (
        "if __name__ == '__main__':\n"
        f"    queue, item = multiprocessing.Queue(), bytes({n_bytes})\n"
        "    for _ in range(2):\n"
        "        n = fill(queue, item)\n"
        f"        assert n * {n_bytes} > 100 * MIB, n\n"
        "        for _ in range(n): assert queue.get() == item\n"
        "        assert queue.empty()\n"
        "    print('well')\n"
    )
    well(run_in_group(source))


def test_results_that_fill_a_container_are_memory_errors_of_their_futures(run_in_group):
    source = FILL + (
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(2) as executor:\n"
        "        for _ in range(2):\n"
        "            futures = [executor.submit(make, 5 * MIB) for _ in range(100)]\n"
        "            wait(futures)\n"
        "            n_good = 0\n"
        "            while futures:\n"
        "                try: n_good += len(futures.pop().result()) == 5 * MIB\n"
        "                except MemoryError as error: assert 'shared memory' in str(error)\n"
        "            assert 20 < n_good < 100, n_good\n"
        "            gc.collect()\n"
        "            assert executor.submit(make, 5 * MIB).result() == bytes(5 * MIB)\n"
        "    print('well')\n"
    )
    well(run_in_group(source))


def test_a_task_that_eats_the_containers_memory_costs_itself(run_in_group):
    source = FILL + (
        "def eat():\n"
        "    eaten = []\n"
        "    while True: eaten.append(bytearray(10 * MIB))\n"
        "if __name__ == '__main__':\n"
        "    from manyhands.futures import WorkerCrashed\n"
        "    with ProcessPoolExecutor(1) as executor:\n"
        "        assert isinstance(executor.submit(eat).exception(), WorkerCrashed)\n"
        "        assert executor.submit(pow, 2, 5).result() == 32\n"
        "        queue = multiprocessing.Queue()\n"
        "        assert fill(queue, bytes(2 * MIB)) > 50\n"
        "    print('well')\n"
    )
    well(run_in_group(source))


def test_what_the_container_has_read_from_files_is_not_in_the_way(run_in_group, tmp_path):
    source = FILL + (
        "if __name__ == '__main__':\n"
        f"    path = {str(tmp_path / 'large')!r}\n"
        "    with open(path, 'wb') as file:\n"
        "        for _ in range(500): file.write(bytes(MIB))\n"
        "        os.fsync(file.fileno())\n"
        "    with open(path, 'rb') as file:\n"
        "        while file.read(MIB): pass\n"
        "    assert fill(multiprocessing.Queue(), bytes(2 * MIB)) > 50\n"
        "    print('well')\n"
    )
    well(run_in_group(source))
