"""What does one task cost when many are submitted at once to a pool of processes?

20,000 tasks that do nothing are submitted to two workers, then all results are taken; the pool is
warm.  The standard pool uses the "fork" start method, its fastest; loky and pebble are peers.
"""

import concurrent.futures as standard
import multiprocessing

import _measure
from manyhands import futures as ours

N_WORKERS = 2


def nothing():
    """Do nothing."""


def burst(executor, n_tasks):
    """Microseconds per task of one burst."""

    def work():
        for future in [executor.submit(nothing) for _ in range(n_tasks)]:
            future.result()

    return _measure.seconds(work) / n_tasks * 1e6


def pebble_burst(pool, n_tasks):
    def work():
        for future in [pool.schedule(nothing) for _ in range(n_tasks)]:
            future.result()

    return _measure.seconds(work) / n_tasks * 1e6


def rows(quick):
    n_tasks = 1_000 if quick else 20_000
    fork = multiprocessing.get_context("fork")
    # The one that forks comes first, while this process has no other threads.
    lanes, pools = {}, [standard.ProcessPoolExecutor(N_WORKERS, mp_context=fork)]
    list(pools[0].map(abs, range(100)))
    if loky := _measure.optional("loky"):
        pools.append(loky.get_reusable_executor(N_WORKERS))
        list(pools[-1].map(abs, range(100)))
    pebble_pool = None
    if pebble := _measure.optional("pebble"):
        pebble_pool = pebble.ProcessPool(N_WORKERS, context=fork)
        pebble_pool.schedule(nothing).result()
    own = ours.ProcessPoolExecutor(N_WORKERS)
    lanes["ours"] = lambda: burst(own, n_tasks)
    lanes["standard"] = lambda: burst(pools[0], n_tasks)
    if loky:
        lanes["loky"] = lambda: burst(pools[1], n_tasks)
    if pebble_pool:
        lanes["pebble"] = lambda: pebble_burst(pebble_pool, n_tasks)
    try:
        values = _measure.interleave(lanes, 1 if quick else 5)
    finally:
        own.shutdown()
        for pool in pools:
            pool.shutdown()
        if pebble_pool:
            pebble_pool.stop()
            pebble_pool.join()
    yield _measure.Row(
        f"processes: submit {n_tasks:,}, then all results",
        "us/task",
        values,
        against=("standard", "loky"),
        kind="ratio",
        target=20,
    )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
