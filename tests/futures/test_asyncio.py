"""Our futures in asyncio: awaiting, wrapping, run_in_executor, and cancelling through them."""

import asyncio
import threading
import time

import pytest
from manyhands.futures import Cancelled, Future, ThreadPoolExecutor


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


class Endless:
    """A body that only a stop ends; it tells when it starts and when it was stopped."""

    def __init__(self):
        self.started = threading.Event()
        self.stopped = threading.Event()

    def __call__(self):
        self.started.set()
        try:
            while True:
                time.sleep(0.001)
        except Cancelled:
            self.stopped.set()
            raise


def test_a_future_can_be_awaited(pool):
    async def main():
        return await pool.submit(pow, 2, 3)

    assert asyncio.run(main()) == 8


def test_many_futures_can_be_awaited_together(pool):
    async def main():
        return await asyncio.gather(*(asyncio.wrap_future(pool.submit(abs, -n)) for n in range(99)))

    assert asyncio.run(main()) == list(range(99))


def test_the_exception_of_an_awaited_task_is_raised(pool):
    async def main():
        await pool.submit(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(main())


def test_run_in_executor_takes_the_pool(pool):
    async def main():
        return await asyncio.get_running_loop().run_in_executor(pool, pow, 3, 2)

    assert asyncio.run(main()) == 9


def test_cancelling_an_asyncio_task_stops_the_task_it_awaits(pool):
    body = Endless()

    async def main():
        future = pool.submit(body)

        async def waits():
            await future

        task = asyncio.create_task(waits())
        await asyncio.to_thread(body.started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        return future

    assert asyncio.run(main()).cancelled()
    assert body.stopped.wait(60)


def test_cancelling_a_future_of_run_in_executor_stops_the_task(pool):
    body = Endless()

    async def main():
        wrapped = asyncio.get_running_loop().run_in_executor(pool, body)
        await asyncio.to_thread(body.started.wait)
        wrapped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped

    asyncio.run(main())
    assert body.stopped.wait(60)


def test_a_timeout_of_asyncio_stops_the_task(pool):
    body = Endless()

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(pool.submit(body)), 0.05)

    asyncio.run(main())
    assert body.stopped.wait(60)


def test_a_plain_cancel_of_a_wrapped_future_keeps_its_standard_meaning(pool):
    gate = threading.Event()

    async def main():
        future = pool.submit(gate.wait)
        wrapped = asyncio.wrap_future(future)
        while not future.running():
            await asyncio.sleep(0)
        assert not future.cancel()
        gate.set()
        return await wrapped

    assert asyncio.run(main())


def test_a_hand_made_future_serves_run_coroutine_threadsafe():
    async def main():
        loop = asyncio.get_running_loop()
        future = Future()
        loop.call_later(0.01, future.set_result, "done")
        return await future

    assert asyncio.run(main()) == "done"
