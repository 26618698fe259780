"""Somebody stops (SIGSTOP) an idle worker, or the process that makes workers: the pool goes on."""

import os
import signal

import family_watch
import hostile_tasks as tasks
import pytest
from manyhands import multiprocessing
from manyhands.futures import ProcessPoolExecutor, wait

pytestmark = pytest.mark.timeout(120)

METHODS = ["template", "spawn", "fork"]


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    family_watch.wait_until(lambda: family_watch._state_of(pid) == "T", "it is stopped")


def go_on(pid):
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass  # It was replaced.


@pytest.fixture(params=METHODS)
def warm_pool(request):
    context = multiprocessing.get_context(request.param)
    with ProcessPoolExecutor(max_workers=2, mp_context=context) as executor:
        pids = {future.result(60) for future in [executor.submit(tasks.nap, 0.2) for _ in range(4)]}
        assert len(pids) == 2
        yield executor


@pytest.fixture
def template_pool():
    with ProcessPoolExecutor(max_workers=2) as executor:
        yield executor


def test_tasks_run_though_every_idle_worker_is_stopped(warm_pool):
    stopped = list(warm_pool._processes)
    for pid in stopped:
        stop(pid)
    try:
        futures = [warm_pool.submit(tasks.square, number) for number in range(100)]
        assert [future.result(60) for future in futures] == [n * n for n in range(100)]
    finally:
        for pid in stopped:
            go_on(pid)
    family_watch.wait_until(lambda: len(warm_pool._processes) <= 2, "the surplus leaves")
    assert list(warm_pool.map(tasks.square, range(20))) == [n * n for n in range(20)]


def test_a_task_ends_at_its_timeout_or_elsewhere_though_its_worker_is_stopped(warm_pool):
    for pid in list(warm_pool._processes):
        stop(pid)
    future = warm_pool.options(timeout=0.01).submit(tasks.square, 3)
    assert isinstance(future.exception(60), TimeoutError)
    assert warm_pool.options(timeout=50).submit(tasks.square, 3).result(60) == 9


def test_a_shutdown_does_not_wait_for_stopped_idle_workers(warm_pool):
    pids = list(warm_pool._processes)
    for pid in pids:
        stop(pid)
    warm_pool.shutdown(wait=True)
    for pid in pids:
        family_watch.wait_until_dead(pid)


def test_a_stopped_template_is_replaced_when_a_worker_is_needed(template_pool):
    template = template_pool.submit(os.getppid).result()
    victims = list(template_pool._processes)
    stop(template)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    futures = [template_pool.submit(os.getppid) for _ in range(20)]
    done, waiting = wait(futures, timeout=60)
    assert not waiting
    assert template not in {future.result() for future in done}
    family_watch.wait_until_dead(template)


def test_workers_of_a_stopped_template_go_on(template_pool):
    template = template_pool.submit(os.getppid).result()
    (worker,) = template_pool._processes
    stop(template)
    # One worker is there, another one is needed.
    naps = [template_pool.submit(tasks.nap, 0.1) for _ in range(4)]
    pids = {future.result(60) for future in naps}
    assert worker in pids
    go_on(template)


def test_a_process_starts_though_its_template_is_stopped():
    context = multiprocessing.get_context("template")
    first = context.Process(target=os.getppid)
    first.start()
    template = first.result(60)
    stop(template)
    second = context.Process(target=os.getppid)
    second.start()
    assert second.result(60) != template
    family_watch.wait_until_dead(template)


def test_a_standard_pool_goes_on_and_is_terminated_though_its_workers_are_stopped():
    with multiprocessing.Pool(2) as pool:
        stopped = [process.pid for process in pool._pool]
        for pid in stopped:
            stop(pid)
        assert pool.map(tasks.square, range(20)) == [n * n for n in range(20)]
    pool.join()
    for pid in stopped:
        family_watch.wait_until_dead(pid)
