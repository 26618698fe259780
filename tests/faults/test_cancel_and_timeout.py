"""Cancelling and timing out under load: exact for pending tasks, prompt for running ones.

A pending task that was cancelled never starts, not even a little; a running one ends and nobody
else is hit.
"""

import asyncio
import random
import threading
import time
from concurrent.futures import CancelledError

import family_watch
import hostile_tasks as tasks
import pytest
from manyhands import Cancelled
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait

pytestmark = pytest.mark.timeout(120)

POOLS = [ProcessPoolExecutor, ThreadPoolExecutor]


@pytest.fixture(params=POOLS, ids=["processes", "threads"])
def pool(request):
    with request.param(max_workers=2) as executor:
        yield executor


@pytest.fixture
def both_workers_held(pool, tmp_path):
    """Keeps both workers busy; called, it lets them go on."""
    path = tmp_path / "go on"
    running = [pool.submit(tasks.hold_until, str(path)) for _ in range(2)]
    family_watch.wait_until(lambda: all(future.running() for future in running), "both run")

    def release():
        path.touch()
        assert all(future.result(60) for future in running)

    yield release
    path.touch()


def test_ten_thousand_pending_tasks_are_cancelled_while_others_run(pool, marks, both_workers_held):
    doomed = [pool.submit(tasks.leave_mark, marks.path, f"doomed {n}") for n in range(10_000)]
    others = [pool.submit(tasks.leave_mark, marks.path, f"other {n}") for n in range(100)]
    assert all(future.cancel() for future in doomed), "two workers were busy: all were pending"
    both_workers_held()
    assert [future.result(60) for future in others] == [f"other {n}" for n in range(100)]
    pool.shutdown(wait=True)
    assert all(future.cancelled() and future.done() for future in doomed)
    assert sorted(marks.read()) == sorted(f"other {n}" for n in range(100))


def test_of_many_cancellers_and_workers_every_task_has_exactly_one_winner(pool, marks):
    futures = [pool.submit(tasks.leave_mark, marks.path, n) for n in range(3_000)]
    won = []

    def cancel_at_random(seed):
        order = list(enumerate(futures))
        random.Random(seed).shuffle(order)
        won.extend(index for index, future in order if not future.cancelled() and future.cancel())

    cancellers = [threading.Thread(target=cancel_at_random, args=(seed,)) for seed in range(3)]
    for canceller in cancellers:
        canceller.start()
    for canceller in cancellers:
        canceller.join()
    wait(futures, timeout=60)
    pool.shutdown(wait=True)
    written = sorted(map(int, marks.read()))
    assert written == [n for n, future in enumerate(futures) if not future.cancelled()]
    assert set(won) == {n for n, future in enumerate(futures) if future.cancelled()}


def test_shutdown_that_cancels_starts_no_pending_task(pool, marks, both_workers_held):
    pending = [pool.submit(tasks.leave_mark, marks.path, n) for n in range(500)]
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in pending)
    both_workers_held()
    pool.shutdown(wait=True)
    assert marks.read() == []


def test_plain_cancel_does_not_touch_a_running_task(pool):
    running = pool.submit(tasks.nap, 0.3)
    family_watch.wait_until(running.running, "it runs")
    assert not running.cancel()
    assert running.result(60)


@pytest.mark.parametrize(
    "task",
    [(tasks.nap, 1000), (tasks.spin_in_python,), (tasks.spin_in_c,)],
    ids=lambda t: t[0].__name__,
)
def test_a_running_task_in_a_process_is_cancelled_whatever_it_does(task):
    with ProcessPoolExecutor(max_workers=1) as executor:
        running = executor.submit(*task)
        family_watch.wait_until(running.running, "it runs")
        assert running.cancel(running=True, grace=0.1)
        assert running.cancelled()
        with pytest.raises(CancelledError):
            running.result(60)
        # The worker (the same or its replacement) takes the next task.
        assert executor.submit(tasks.square, 5).result(60) == 25


def test_a_task_that_ignores_every_signal_is_cancelled_after_its_grace(marks):
    with ProcessPoolExecutor(max_workers=1) as executor:
        running = executor.submit(tasks.ignore_signals_and_nap, marks.path, 1000)
        pid = int(family_watch.wait_until(marks.read, "it runs")[0])
        assert running.cancel(running=True, grace=0.05)
        family_watch.wait_until_dead(pid)
        assert executor.submit(tasks.square, 5).result(60) == 25


def test_a_cancelled_task_may_clean_up_within_its_grace(marks):
    path = marks.path

    def work():
        try:
            tasks.leave_mark(path, "started")
            time.sleep(1000)
        except Cancelled:
            tasks.leave_mark(path, "cleaned up")
            raise

    for executor in (ProcessPoolExecutor(1), ThreadPoolExecutor(1)):
        with executor:
            already = len(marks.read())
            if isinstance(executor, ThreadPoolExecutor):

                def work_in_steps():
                    # A thread is reached at its next bytecode, so its sleep is cut in pieces.
                    try:
                        tasks.leave_mark(path, "started")
                        while True:
                            time.sleep(0.001)
                    except Cancelled:
                        tasks.leave_mark(path, "cleaned up")
                        raise

                running = executor.submit(work_in_steps)
            else:
                running = executor.submit(work)
            family_watch.wait_until(lambda n=already: len(marks.read()) > n, "it runs")
            assert running.cancel(running=True, grace=30)
        assert marks.read()[already:] == ["started", "cleaned up"]


def test_an_exception_meant_for_one_task_never_reaches_the_next_one():
    wrong = []

    def short(number):
        total = 0
        for step in range(random.Random(number).randrange(300)):
            total += step
        return number

    with ThreadPoolExecutor(max_workers=2) as executor:
        for round_index in range(300):
            victims = [executor.submit(short, n) for n in range(10)]
            innocent = []
            for victim in victims:
                victim.cancel(running=True)
                innocent.append(executor.submit(short, round_index))
            for future in innocent:
                error = future.exception(60)
                if error is not None or future.result() != round_index:
                    wrong.append(error)
            for number, victim in enumerate(victims):
                wait([victim], timeout=60)
                if not victim.cancelled() and victim.result(60) != number:
                    wrong.append(victim)
        assert not wrong
        assert len([t for t in threading.enumerate() if t in executor._threads]) == 2


def test_an_interrupt_meant_for_one_task_never_reaches_the_next_one_in_that_process(marks):
    wrong = []
    with ProcessPoolExecutor(max_workers=2) as executor:
        for round_index in range(150):
            victims = [executor.submit(time.sleep, 0.0005) for _ in range(6)]
            innocent = []
            for victim in victims:
                victim.cancel(running=True, grace=10)
                innocent.append(executor.submit(tasks.square, round_index))
            for future in innocent:
                error = future.exception(60)
                if error is not None or future.result() != round_index**2:
                    wrong.append(error)
    assert not wrong


def test_a_map_with_options_computes_a_chunk_in_one_task():
    with ProcessPoolExecutor(max_workers=1) as executor:
        view = executor.options(timeout=60).options(name="chunk")
        assert list(view.map(pow, range(10), range(10), chunksize=4)) == [n**n for n in range(10)]
        assert executor.statistics()["finished"] == 3
        assert list(view.map(abs, range(-4, 0), chunksize=2, buffersize=2)) == [4, 3, 2, 1]
        assert executor.statistics()["finished"] == 5


def test_a_timeout_counts_for_the_whole_chunk_of_a_map():
    with ProcessPoolExecutor(max_workers=1) as executor:
        results = executor.options(timeout=0.2).map(time.sleep, [0, 1000], chunksize=2)
        with pytest.raises(TimeoutError):
            next(results)
        with ThreadPoolExecutor(max_workers=1) as threads:
            # One item is one task there.
            assert list(threads.options(name="each").map(abs, [-1, -2], chunksize=2)) == [1, 2]


def test_a_timeout_stops_one_item_of_a_map_and_spares_the_others():
    def nap_or_not(number):
        if number == 7:
            time.sleep(1000)
        return number

    with ProcessPoolExecutor(max_workers=2) as executor:
        results = executor.options(timeout=5).map(nap_or_not, range(20))
        seen = []
        while True:
            try:
                seen.append(next(results))
            except StopIteration:
                break
            except TimeoutError:
                seen.append("stopped")
        assert seen == [*range(7), "stopped", *range(8, 20)]
        assert executor.submit(tasks.square, 5).result(60) == 25


@pytest.mark.parametrize(
    "task",
    [(tasks.nap, 1000), (tasks.spin_in_python,), (tasks.spin_in_c,)],
    ids=lambda t: t[0].__name__,
)
def test_a_timeout_ends_the_task_and_frees_its_process(task):
    with ProcessPoolExecutor(max_workers=1) as executor:
        late = executor.options(timeout=0.1, name="the late one").submit(*task)
        error = late.exception(60)
        assert isinstance(error, TimeoutError)
        assert "the late one" in str(error)
        assert "0.1" in str(error)
        assert executor.submit(tasks.square, 5).result(60) == 25


def test_a_timeout_ends_a_task_in_a_thread():
    with ThreadPoolExecutor(max_workers=1) as executor:
        late = executor.options(timeout=0.1).submit(tasks.spin_in_python)
        assert isinstance(late.exception(60), TimeoutError)
        assert executor.submit(tasks.square, 5).result(60) == 25


def test_the_time_a_task_waits_for_a_worker_does_not_count_as_its_running_time():
    with ProcessPoolExecutor(max_workers=1) as executor:
        executor.submit(tasks.nap, 1.0)
        patient = executor.options(timeout=0.8).submit(tasks.nap, 0.01)
        assert patient.result(60)


def test_a_task_that_ends_at_its_timeout_ends_once_and_the_pool_goes_on():
    with ProcessPoolExecutor(max_workers=2) as executor:
        close = executor.options(timeout=0.01)
        futures = [close.submit(time.sleep, 0.0098 + n % 5 * 0.0001) for n in range(100)]
        calls = []
        for future in futures:
            future.add_done_callback(calls.append)
        wait(futures, timeout=60)
        assert all(
            f.exception() is None or isinstance(f.exception(), TimeoutError) for f in futures
        )
        assert executor.submit(tasks.square, 5).result(60) == 25
    family_watch.wait_until(lambda: len(calls) >= 100, "every callback ran")
    assert len(calls) == len(set(calls)) == 100


def test_cancelling_the_asyncio_future_ends_the_task_and_the_loop_goes_on(pool, marks):
    async def main():
        loop = asyncio.get_running_loop()
        path = marks.path

        def work():
            tasks.leave_mark(path, "started")
            while True:
                time.sleep(0.001)

        waiting = loop.run_in_executor(pool, work)
        while not marks.read():
            await asyncio.sleep(0.005)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # The workers are free again: otherwise these two would wait for ever.
        return [await loop.run_in_executor(pool, tasks.square, n) for n in range(4)]

    assert asyncio.run(main()) == [0, 1, 4, 9]


def test_leaving_the_pool_inside_the_loop_after_a_cancel_does_not_block_for_ever(marks):
    async def main():
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(max_workers=1) as executor:
            waiting = loop.run_in_executor(
                executor, tasks.mark_and_nap, marks.path, "started", 1000
            )
            while not marks.read():
                await asyncio.sleep(0.005)
            waiting.cancel()
        return waiting.cancelled()

    assert asyncio.run(main())


def test_a_cancelled_wait_in_a_thread_leaves_no_thread_behind():
    before = set(threading.enumerate())
    with ThreadPoolExecutor(max_workers=3) as executor:
        futures = [executor.submit(tasks.spin_in_python) for _ in range(3)]
        family_watch.wait_until(lambda: all(f.running() for f in futures), "they run")
        for future in futures:
            assert future.cancel(running=True)

    def left_behind():
        # The dispatcher, one for all pools, stays.
        return [
            thread
            for thread in threading.enumerate()
            if thread not in before and thread.name != "manyhands-dispatcher"
        ]

    family_watch.wait_until(lambda: not left_behind(), "the threads ended")


def test_a_cancel_in_the_middle_of_an_import_spoils_no_later_one(tmp_path, monkeypatch):
    package = tmp_path / "half_made"
    package.mkdir()
    (package / "part.py").write_text("value = 25")
    # The name `part` is bound only where the part is imported for the first time.
    (package / "__init__.py").write_text(
        "import pathlib, threading\n"
        "from half_made.part import *\n"
        f"mark = pathlib.Path({str(tmp_path / 'mark')!r})\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        "    threading.Event().wait(60)\n"
        "value = part.value\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def imported():
        import half_made

        return half_made.value

    with ProcessPoolExecutor(max_workers=1) as executor:
        first = executor.submit(imported)
        while not (tmp_path / "mark").exists():
            assert not first.done(), first.exception()
            time.sleep(0.001)
        later = [executor.submit(imported) for _ in range(3)]
        assert first.cancel(running=True)
        assert [future.result(60) for future in later] == [25, 25, 25]
