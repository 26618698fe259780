"""aget and aput: coroutines of any event loop and threads at one queue."""

import asyncio
import gc
import os
import sys
import threading
import weakref

import pytest
from manyhands import queue as ours

N_ITEMS = 200


@pytest.fixture(params=["Queue", "LifoQueue", "PriorityQueue"])
def make(request):
    return getattr(ours, request.param)


def test_a_coroutine_gets_what_a_thread_puts(make, start):
    queue = make(3)

    async def get_all():
        return [await queue.aget() for _ in range(N_ITEMS)]

    getter = start(asyncio.run, get_all())
    queue.put_many(range(N_ITEMS))
    assert sorted(getter.result()) == list(range(N_ITEMS))


def test_a_thread_gets_what_a_coroutine_puts(make, start):
    queue = make(3)

    async def put_all():
        for item in range(N_ITEMS):
            await queue.aput(item)

    putter = start(asyncio.run, put_all())
    assert sorted(queue.get(timeout=60) for _ in range(N_ITEMS)) == list(range(N_ITEMS))
    putter.result()


def test_two_event_loops_exchange_items(make, start):
    queue, answers = make(1), ours.Queue(1)

    async def answer():
        async for item in queue:
            await answers.aput(item)
        answers.shutdown()

    async def ask():
        async def put_all():
            for item in range(N_ITEMS):
                await queue.aput(item)
            queue.shutdown()

        putting = asyncio.create_task(put_all())
        taken = [item async for item in answers]
        await putting
        return taken

    answering = start(asyncio.run, answer())
    assert sorted(asyncio.run(ask())) == list(range(N_ITEMS))
    answering.result()


def test_tasks_of_one_loop_exchange_items(make):
    queue = make(2)

    async def main():
        getters = [asyncio.create_task(queue.aget()) for _ in range(20)]
        for item in range(20):
            await queue.aput(item)
        return sorted(await asyncio.gather(*getters))

    assert asyncio.run(main()) == list(range(20))


def test_a_cancelled_coroutine_takes_no_item_and_no_wake_up(make):
    async def main():
        for _ in range(50):
            queue = make()
            first, second = (asyncio.create_task(queue.aget()) for _ in range(2))
            await asyncio.sleep(0)
            # Called, then cancelled before it runs: the other one has to hear of the item.
            queue.put("rice")
            first.cancel()
            (first_end,) = await asyncio.gather(first, return_exceptions=True)
            if first_end == "rice":
                second.cancel()
                await asyncio.gather(second, return_exceptions=True)
            else:
                assert isinstance(first_end, asyncio.CancelledError)
                assert await second == "rice"
            assert queue.statistics()["getters_waiting"] == 0

    asyncio.run(main())


def test_a_cancelled_putter_has_put_nothing(make):
    async def main():
        queue = make(1)
        queue.put(1)
        putter = asyncio.create_task(queue.aput(2))
        await asyncio.sleep(0)
        assert queue.statistics()["putters_waiting"] == 1
        putter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putter
        assert queue.statistics()["putters_waiting"] == 0
        assert (queue.get(), queue.qsize()) == (1, 0)

    asyncio.run(main())


def test_nothing_is_lost_when_waits_are_cancelled_at_any_time(make, start):
    queue = make(2)
    taken = []

    async def get_all():
        while True:
            try:
                taken.append(await asyncio.wait_for(queue.aget(), 0.0005))
            except asyncio.TimeoutError:  # noqa: UP041  # another class on Python 3.10
                continue
            except ours.ShutDown:
                return

    async def main():
        await asyncio.gather(*(get_all() for _ in range(5)))

    getter = start(asyncio.run, main())
    queue.put_many(range(N_ITEMS))
    queue.shutdown()
    getter.result()
    if sys.version_info >= (3, 12):  # Before, wait_for itself lost what came with the timeout.
        assert sorted(taken) == list(range(N_ITEMS))


def test_a_shutdown_ends_the_waits_of_coroutines(make, start, until):
    empty, full = make(), make(1)
    full.put(1)

    async def main():
        return await asyncio.gather(empty.aget(), full.aput(2), return_exceptions=True)

    waiting = start(asyncio.run, main())
    until(lambda: empty.statistics()["getters_waiting"] == 1)
    until(lambda: full.statistics()["putters_waiting"] == 1)
    empty.shutdown()
    full.shutdown()
    assert [type(end) for end in waiting.result()] == [ours.ShutDown] * 2


def test_coroutines_wait_at_an_exposed_queue(make, start):
    queue = make(1)
    assert not queue.queue

    async def get_all():
        return [item async for item in queue]

    getter = start(asyncio.run, get_all())
    for item in range(20):
        queue.put(item)
    queue.shutdown()
    assert sorted(getter.result()) == list(range(20))


def test_coroutines_that_wait_go_on_when_the_parts_are_touched(make, start, until):
    queue = make()
    getter = start(asyncio.run, queue.aget())
    until(lambda: queue.statistics()["getters_waiting"] == 1)
    with queue.mutex:
        assert not queue.queue
    queue.put("rice")
    assert getter.result() == "rice"


def test_a_loop_that_is_gone_does_not_keep_an_item_from_others(make, start):
    queue = make()
    loop = asyncio.new_event_loop()
    forgotten = loop.create_task(queue.aget())
    loop.run_until_complete(asyncio.sleep(0))
    assert queue.statistics()["getters_waiting"] == 1
    loop.close()

    other = start(asyncio.run, queue.aget())
    queue.put("rice")
    assert other.result() == "rice"
    forgotten._log_destroy_pending = False  # What the test is about.


def test_a_queue_that_only_its_own_waiters_know_is_collected():
    loop = asyncio.new_event_loop()

    async def wait():
        await ours.Queue().aget()

    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    task._log_destroy_pending = False
    gone = weakref.ref(task)
    del task
    gc.collect()
    assert gone() is None


def test_outside_of_an_event_loop_a_wait_says_what_it_needs():
    waiting = ours.Queue().aget()
    with pytest.raises(RuntimeError, match="asyncio or trio"):
        waiting.send(None)


def test_an_item_that_is_there_needs_no_event_loop():
    queue = ours.Queue()
    queue.put("rice")
    with pytest.raises(StopIteration) as ended:
        queue.aget().send(None)
    assert ended.value.value == "rice"


def test_trio_tasks_and_threads_exchange_items(make):
    trio = pytest.importorskip("trio")
    queue, taken = make(2), []

    async def main():
        async def get_all():
            taken.extend([item async for item in queue])

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(get_all)
                with trio.move_on_after(0.001):
                    await queue.aget()  # Cancelled, or ended by an item: both may be.

    def put_all():
        queue.put_many(range(N_ITEMS))
        queue.shutdown()

    putter = threading.Thread(target=put_all)
    putter.start()
    trio.run(main)
    putter.join()
    assert len(taken) in (N_ITEMS - 1, N_ITEMS)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_calls_its_own_coroutines_not_those_of_its_parent(make, start, until):
    async def get_what_is_put():
        waiting = asyncio.create_task(queue.aget())
        await asyncio.sleep(0)
        assert queue.statistics()["getters_waiting"] == 1
        queue.put("rice")
        return await asyncio.wait_for(waiting, 30)

    queue = make()
    parents = start(asyncio.run, queue.aget())
    until(lambda: queue.statistics()["getters_waiting"] == 1)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = asyncio.run(get_what_is_put()) != "rice"
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    queue.put("beans")
    assert parents.result() == "beans"
