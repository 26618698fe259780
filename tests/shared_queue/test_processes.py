"""Queues between processes that start in every way: order, conservation, travel, large items."""

import os
import pickle
import subprocess
import sys

import pytest
from manyhands import multiprocessing
from manyhands.multiprocessing import HandleError
from manyhands.multiprocessing.queues import Queue, SimpleQueue

N_ITEMS = 2_000


def _put_all(queue, putter, n_items):
    for number in range(n_items):
        queue.put((putter, number))


def _get_all(queue, results):
    results.put(list(queue))


def test_every_item_arrives_once_and_those_of_a_putter_in_order(ctx):
    queue, results = ctx.Queue(50), ctx.Queue()
    putters = [ctx.Process(target=_put_all, args=(queue, n, N_ITEMS)) for n in range(3)]
    getters = [ctx.Process(target=_get_all, args=(queue, results)) for _ in range(3)]
    for process in putters + getters:
        process.start()
    for process in putters:
        process.join()
    queue.shutdown()
    got = [results.get() for _ in getters]
    for process in getters:
        process.join()
        assert process.exitcode == 0
    for items in got:
        for putter in range(3):
            numbers = [number for who, number in items if who == putter]
            assert numbers == sorted(numbers)
    assert sorted(item for items in got for item in items) == [
        (n, i) for n in range(3) for i in range(N_ITEMS)
    ]


def _echo(requests):
    for answer_to, item in requests:
        answer_to.put(item)


def test_a_queue_travels_in_a_queue(ctx):
    requests = ctx.Queue()
    process = ctx.Process(target=_echo, args=(requests,))
    process.start()
    for n in range(20):
        # Made after the process was started, and forgotten here while it is under way.
        answers = Queue()
        requests.put((answers, n))
        assert answers.get() == n
    requests.shutdown()
    process.join()


def test_a_queue_is_kept_by_the_message_that_carries_it():
    outer = SimpleQueue()
    inner = Queue()
    inner.put("rice")
    outer.put(inner)
    del inner
    assert outer.get().get() == "rice"


def test_a_process_ends_though_nobody_drains_its_queue(ctx):
    queue = ctx.Queue()
    process = ctx.Process(target=queue.put_many, args=([b"x" * 1_000_000] * 20,))
    process.start()
    # The standard queue's feeder thread would wait for a reader here.
    process.join()
    assert process.exitcode == 0
    assert [len(item) for item in queue.get_many(100)] == [1_000_000] * 20


def test_a_large_array_is_used_where_it_was_put(ctx):
    numpy = pytest.importorskip("numpy")
    queue = ctx.Queue()
    process = ctx.Process(target=_put_array, args=(queue, 1_000_000))
    process.start()
    array = queue.get()
    process.join()
    assert array.sum() == numpy.arange(1_000_000).sum()
    # The receiver's alone: it may write, and nobody copied it.
    array += 1
    assert not array.flags.owndata


def _put_array(queue, n):
    import numpy as np

    queue.put(np.arange(n))


def test_a_pickled_queue_says_why_it_cannot_be_opened_outside_of_the_family():
    queue = Queue()
    code = (
        "import pickle, sys; from manyhands.multiprocessing import HandleError\n"
        "try: pickle.loads(sys.stdin.buffer.read())\n"
        "except HandleError as error: print(error)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(queue), capture_output=True, timeout=60
    )
    assert b"another family of processes" in ended.stdout, ended.stderr


def test_a_handle_of_a_queue_that_is_gone_says_so(ctx):
    pickles = ctx.Queue()
    process = ctx.Process(target=_put_pickle, args=(pickles,))
    process.start()
    process.join()
    with pytest.raises(HandleError, match="is gone"):
        pickle.loads(pickles.get())


def _put_pickle(pickles):
    pickles.put(pickle.dumps(Queue()))


def test_a_hundred_processes_share_one_queue():
    ctx = multiprocessing.get_context("fork")
    queue, results = ctx.Queue(20), ctx.Queue()
    processes = [ctx.Process(target=_exchange, args=(queue, results, n)) for n in range(100)]
    for process in processes:
        process.start()
    got = [number for _ in processes for number in results.get()]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(got) == list(range(100))
    assert queue.empty()


def _exchange(queue, results, number):
    queue.put(number)
    results.put([queue.get()])


def test_a_queue_survives_forks_in_the_middle_of_its_use(start):
    queue, seen = Queue(), Queue()
    work = start(lambda: [(queue.put(n), queue.get()) for n in range(20_000)])
    children = []
    while not work.is_over() and len(children) < 30:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for n in range(100):
                    queue.put(n)
                    queue.get()
                seen.put(os.getpid())
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    work.result()
    assert statuses == [0] * len(children)
    assert sorted(seen.get_many(len(children))) == sorted(children)
