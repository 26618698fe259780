"""A pool's life: parameters, states, initializers, replacement, the end."""

import gc
import multiprocessing
import os
import pickle
import signal
import time
import warnings

import manyhands
import pool_tasks as tasks
import pytest
from manyhands.multiprocessing import get_context
from manyhands.multiprocessing.pool import Pool, PoolTerminated, ThreadPool

METHODS = pytest.mark.parametrize("method", ["template", "fork", "spawn", "forkserver"])


@pytest.mark.parametrize("processes", [0, -1])
def test_a_pool_has_at_least_one_worker(kind, processes):
    with pytest.raises(ValueError, match="at least 1"):
        kind(processes)


def test_an_initializer_must_be_callable(kind):
    with pytest.raises(TypeError, match="callable"):
        kind(1, initializer=1)


@pytest.mark.parametrize("value", [0, -1, 0.5, "12"])
def test_maxtasksperchild_must_be_a_positive_int(value):
    with pytest.raises(ValueError, match="maxtasksperchild"):
        Pool(1, maxtasksperchild=value)


def test_a_closed_pool_finishes_its_tasks_and_takes_no_more(pool):
    results = [pool.apply_async(tasks.square, (number,)) for number in range(50)]
    pool.close()
    for call in (pool.apply, pool.apply_async, pool.map, pool.map_async, pool.imap):
        with pytest.raises(ValueError, match="Pool not running"):
            call(tasks.square, (1,))
    pool.join()
    assert [result.get() for result in results] == [n * n for n in range(50)]


def test_join_of_a_running_pool_is_refused(pool):
    with pytest.raises(ValueError, match="still running"):
        pool.join()


def test_with_ends_the_pool_and_cannot_be_entered_again(kind):
    pool = kind(1)
    with pool as entered:
        assert entered is pool
    with pytest.raises(ValueError, match="not running"):
        pool.__enter__()
    pool.terminate()
    pool.join()


def test_the_repr_names_state_and_size(kind):
    pool = kind(3)
    assert repr(pool).endswith(f"pool.{kind.__name__} state=RUN pool_size=3>")
    pool.close()
    assert "state=CLOSE" in repr(pool)
    pool.terminate()
    assert "state=TERMINATE" in repr(pool)
    pool.join()


def test_a_pool_cannot_be_pickled(pool):
    with pytest.raises(NotImplementedError, match="cannot be passed between processes"):
        pickle.dumps(pool)


def test_a_pool_that_is_dropped_while_it_runs_warns(kind):
    pools = [kind(1)]
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        pools.clear()


def test_a_pool_that_is_dropped_after_its_end_does_not_warn(kind):
    pool = kind(1)
    pool.terminate()
    pool.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del pool
        gc.collect()


def test_a_result_keeps_its_pool_until_it_is_there(kind):
    result = kind(1).map_async(tasks.square, range(10))
    with pytest.warns(ResourceWarning):
        values = result.get(timeout=60)
    assert values == [n * n for n in range(10)]


def test_terminate_takes_back_what_is_not_done(processes):
    results = [processes.apply_async(time.sleep, (600,)) for _ in range(6)]
    many = processes.map_async(time.sleep, [600] * 10_000, 1)
    seen = []
    with_callback = processes.apply_async(time.sleep, (600,), {}, seen.append, seen.append)
    processes.terminate()
    processes.join()
    for result in [*results, many, with_callback]:
        with pytest.raises(PoolTerminated, match="terminated"):
            result.get(timeout=60)
    assert seen == []


def test_terminate_ends_workers_that_ignore_sigterm(processes):
    processes.map(ignore_sigterm, range(8), 1)
    result = processes.apply_async(time.sleep, (600,))
    pids = [worker.pid for worker in processes._pool]
    processes.terminate()
    processes.join()
    assert not any(is_alive(pid) for pid in pids)
    with pytest.raises(PoolTerminated):
        result.get()


def ignore_sigterm(_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(0.01)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@METHODS
def test_every_start_method_works_with_initializer_and_replacement(method):
    context = get_context(method)
    with context.Pool(2, tasks.remember, (method,), maxtasksperchild=3) as pool:
        assert pool.map(tasks.remembered, range(20), 1) == [method] * 20
        pids = set(pool.map(tasks.pid, range(20), 1))
        assert len(pids) >= 6
        assert os.getpid() not in pids
        pool.close()
        pool.join()


@METHODS
def test_workers_look_like_those_of_the_standard_pool(method):
    prefix = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}.get(method, "")
    with get_context(method).Pool(2) as pool:
        seen = set(pool.map(tasks.who, range(20), 1))
        pool.close()
        pool.join()
    for name, is_daemon, identity in seen:
        assert name == f"{prefix}PoolWorker-{identity[0]}"
        assert is_daemon


def test_a_standard_context_says_how_processes_are_started():
    with Pool(1, context=multiprocessing.get_context("fork")) as pool:
        assert pool.apply(tasks.who)[0].startswith("ForkPoolWorker-")
    pool.join()


def test_all_workers_are_there_from_the_start_and_initialized(tmp_path):
    pool = Pool(3, mark, (str(tmp_path),))
    assert len(pool._pool) == 3
    pool.close()
    pool.join()
    assert len(list(tmp_path.iterdir())) == 3


def test_all_threads_are_there_from_the_start_and_initialized():
    seen = []
    pool = ThreadPool(3, seen.append, ("here",))
    assert len(pool._pool) == 3
    pool.close()
    pool.join()
    assert seen == ["here"] * 3


def mark(folder):
    with open(os.path.join(folder, str(os.getpid())), "w"):
        pass


def test_an_initializer_that_raises_breaks_the_pool(capfd):
    pool = Pool(2, tasks.refuse)
    with pytest.raises(Exception, match="no worker today"):
        pool.map(tasks.square, range(10))
    with pytest.raises(Exception, match="no worker today"):
        pool.apply_async(tasks.square, (1,)).get(timeout=60)
    assert pool.statistics()["workers_started"] < 10
    pool.terminate()
    pool.join()


def test_a_worker_that_dies_fails_its_task_only(processes):
    with pytest.raises(manyhands.WorkerCrashed):
        processes.map(tasks.die_at_three, range(20), 1)
    results = processes.imap(tasks.die_at_three, range(6))
    seen = []
    while True:
        try:
            seen.append(next(results))
        except StopIteration:
            break
        except manyhands.WorkerCrashed:
            seen.append("crashed")
    assert seen == [0, 1, 2, "crashed", 4, 5]
    unordered = processes.imap_unordered(tasks.die_at_three, range(6))
    seen = set()
    for _ in range(6):
        try:
            seen.add(next(unordered))
        except manyhands.WorkerCrashed:
            seen.add("crashed")
    assert seen == {0, 1, 2, "crashed", 4, 5}


def test_a_killed_worker_is_told_to_the_error_callback(processes):
    seen = []
    result = processes.apply_async(os._exit, (3,), error_callback=seen.append)
    result.wait()
    assert [type(error) for error in seen] == [manyhands.WorkerCrashed]


def test_a_task_may_have_a_pool_of_its_own(processes):
    assert processes.map(tasks.nested_map, [3, 4], 1) == [5, 14]


def test_large_items_do_not_pile_up_in_shared_memory(processes):
    from manyhands import _runtime

    megabyte = bytes(1 << 20)
    before = _runtime.heap_usage()[0]
    seen = processes.map_async(len, (megabyte for _ in range(400)), 1)
    assert _runtime.heap_usage()[0] - before < 350 << 20
    assert seen.get() == [1 << 20] * 400


def test_arguments_and_results_are_not_kept(kind):
    import weakref

    class Big:
        pass

    with kind(1) as pool:
        big = Big()
        reference = weakref.ref(big)
        if kind is ThreadPool:
            assert pool.map(id, [big]) == [id(big)]
        else:
            assert len(pool.map(tasks.pid, [big])) == 1
        del big
        gc.collect()
        assert reference() is None
    pool.join()


def test_workers_have_the_modules_that_the_program_preloads():
    context = get_context("forkserver")
    context.set_forkserver_preload(["wave"])
    try:
        with context.Pool(1) as pool:
            assert pool.apply(tasks.has_module, ("wave",))
        pool.join()
    finally:
        context.set_forkserver_preload([])
