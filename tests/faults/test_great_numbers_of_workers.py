"""A pool may be allowed more workers than there could ever be: nothing is sized by that number."""

import itertools

import manyhands.multiprocessing as mp
import pytest
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor
from manyhands.multiprocessing.pool import ThreadPool

GREAT = [10**9, 2**63 - 1, 2**63, 10**30]


def process_pool(start_method):
    return lambda n: ProcessPoolExecutor(n, mp_context=start_method)


EXECUTORS = {
    "threads": ThreadPoolExecutor,
    "template": process_pool("template"),
    "spawn": process_pool("spawn"),
    "fork": process_pool("fork"),
}
POOLS = {
    "threads": ThreadPool,
    "template": lambda n: mp.get_context("template").Pool(n),
    "spawn": lambda n: mp.get_context("spawn").Pool(n),
    "fork": lambda n: mp.get_context("fork").Pool(n),
}


@pytest.mark.parametrize("n_workers", GREAT)
@pytest.mark.parametrize("kind", EXECUTORS)
def test_an_executor_of_any_size_starts_workers_as_tasks_need_them(kind, n_workers):
    with EXECUTORS[kind](n_workers) as executor:
        assert executor.submit(abs, -1).result() == 1
        assert list(executor.map(abs, range(5))) == list(range(5))
        assert list(executor.map(abs, range(50), chunksize=10)) == list(range(50))
        assert executor.statistics()["workers_started"] <= 11 + 50 * (kind == "threads")
        executor.shutdown(cancel_futures=True)


@pytest.mark.parametrize("n_workers", GREAT)
@pytest.mark.parametrize("kind", POOLS)
def test_a_pool_of_any_size_starts_workers_as_tasks_need_them(kind, n_workers):
    with POOLS[kind](n_workers) as pool:
        assert pool.statistics()["workers_started"] == 0
        assert pool.apply(abs, (-1,)) == 1
        assert pool.map(abs, range(20), 5) == list(range(20))
        assert pool.map(abs, range(5)) == list(range(5))
        endless = pool.imap(abs, itertools.count())
        assert [next(endless) for _ in range(3)] == [0, 1, 2]
        pool.terminate()
        pool.join()


@pytest.mark.parametrize("kind", ["fork", "template"])
def test_a_pool_of_a_size_that_can_be_starts_all_workers_at_once(kind):
    with POOLS[kind](3) as pool:
        assert pool.statistics()["workers_started"] == 3


@pytest.mark.parametrize(
    "make", ["ThreadPoolExecutor", "ProcessPoolExecutor", "ThreadPool", "Pool"]
)
def test_a_great_number_of_workers_takes_no_memory(run, make):
    source = f"""
import resource
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor
from manyhands.multiprocessing.pool import Pool, ThreadPool

def use(n_workers):
    with {make}(n_workers) as pool:
        assert list(pool.map(abs, range(4))) == list(range(4))
        assert list(pool.map(abs, range(4), chunksize=2)) == list(range(4))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

if __name__ == "__main__":
    few, many = use(2), use(10**9)
    print("no more" if many - few < 8 << 10 else (few, many))
"""
    finished = run(source)
    assert tuple(finished) == (0, "no more\n", "")


@pytest.mark.parametrize("start_method", ["template", "spawn", "fork"])
def test_workers_that_cannot_be_started_break_no_pool_that_has_others(run, start_method):
    source = f"""
import resource, time
from manyhands.futures import ProcessPoolExecutor

def work(number):
    time.sleep(0.01)
    return number

if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    with ProcessPoolExecutor(10**9, mp_context={start_method!r}) as executor:
        assert list(executor.map(work, range(150))) == list(range(150))
        n_workers = len(executor.statistics()["workers"])
    print(1 <= n_workers <= 32)
"""
    finished = run(source)
    assert tuple(finished) == (0, "True\n", "")
