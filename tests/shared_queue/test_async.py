"""Coroutines that wait for a queue between processes."""

import asyncio
import threading

import pytest
from manyhands import multiprocessing
from manyhands.multiprocessing.queues import Queue, ShutDown

fork = multiprocessing.get_context("fork")


def test_a_coroutine_gets_what_another_process_puts():
    async def main(queue):
        return [await queue.aget() for _ in range(100)]

    queue = Queue()
    process = fork.Process(target=queue.put_many, args=(range(100),))
    process.start()
    assert asyncio.run(main(queue)) == list(range(100))
    process.join()


def test_a_coroutine_puts_when_another_process_makes_room():
    async def main(queue):
        for n in range(100):
            await queue.aput(n)

    queue, sums = Queue(3), Queue()
    process = fork.Process(target=lambda: sums.put(sum(queue.get() for _ in range(100))))
    process.start()
    asyncio.run(main(queue))
    assert sums.get() == sum(range(100))
    process.join()


def test_many_coroutines_and_processes_share_a_queue():
    async def main(queue):
        return await asyncio.gather(*(queue.aget() for _ in range(50)))

    queue = Queue()
    processes = [fork.Process(target=queue.put_many, args=(range(10),)) for _ in range(5)]
    for process in processes:
        process.start()
    assert sorted(asyncio.run(main(queue))) == sorted(list(range(10)) * 5)
    for process in processes:
        process.join()


def test_a_cancelled_coroutine_takes_no_item():
    async def main(queue):
        for _ in range(20):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(queue.aget(), 0.002)
        queue.put("rice")
        return await asyncio.wait_for(queue.aget(), 20)

    queue = Queue()
    assert asyncio.run(main(queue)) == "rice"
    assert queue.empty()


def test_a_shutdown_by_another_process_ends_the_wait():
    async def main(queue):
        with pytest.raises(ShutDown):
            await queue.aget()
        return [item async for item in queue]

    queue = Queue()
    process = fork.Process(target=queue.shutdown)
    process.start()
    assert asyncio.run(main(queue)) == []
    process.join()


def test_the_watcher_goes_with_the_last_coroutine(until):
    async def main(queue):
        waiting = asyncio.ensure_future(queue.aget())
        await asyncio.sleep(0.01)
        queue.put(1)
        return await waiting

    queue = Queue()
    assert asyncio.run(main(queue)) == 1
    until(lambda: "queue watcher" not in [thread.name for thread in threading.enumerate()])


def test_a_forked_child_waits_for_itself_while_its_parent_waits(start, until):
    queue, taken = Queue(), Queue()
    waiting = start(asyncio.run, queue.aget())
    until(lambda: queue.statistics()["getters_waiting"] == 1)
    process = fork.Process(target=lambda: taken.put(asyncio.run(queue.aget())))
    process.start()
    until(lambda: queue.statistics()["getters_waiting"] == 2)
    queue.put_many("ab")
    assert sorted([waiting.result(), taken.get(timeout=60)]) == ["a", "b"]
    process.join()


def test_a_watcher_that_cannot_be_started_is_an_error_and_is_tried_again(monkeypatch, start):
    def fail(_thread):
        raise RuntimeError("can't start new thread")

    queue = Queue()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="can't start"):
        patch.setattr(threading.Thread, "start", fail)
        asyncio.run(queue.aget())
    waiting = start(asyncio.run, queue.aget())
    process = fork.Process(target=queue.put, args=("rice",))
    process.start()
    assert waiting.result() == "rice"
    process.join()


def test_a_watcher_that_fails_is_replaced_by_the_coroutines_it_leaves(monkeypatch, start):
    class Failing(Queue):
        n_waits = 0

        def _wait_for_item(self, seconds):
            self.n_waits += 1
            if self.n_waits == 1:
                raise MemoryError("none left")
            return super()._wait_for_item(seconds)

    errors = []
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.append(args.exc_type))
    queue = Failing()
    waiting = start(asyncio.run, queue.aget())
    process = fork.Process(target=queue.put, args=("rice",))
    process.start()
    assert waiting.result() == "rice"
    process.join()
    assert errors == [MemoryError]


def test_trio_may_wait_too():
    trio = pytest.importorskip("trio")

    async def main(queue):
        return await queue.aget()

    queue = Queue()
    process = fork.Process(target=queue.put, args=("rice",))
    process.start()
    assert trio.run(main, queue) == "rice"
    process.join()
