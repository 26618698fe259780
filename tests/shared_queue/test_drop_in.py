"""What programs rely on in the standard queues holds for ours, and what is promised beyond it."""

import inspect
import multiprocessing as standard
import multiprocessing.queues
import pickle
import threading
import time

import pytest
from manyhands import multiprocessing as ours
from manyhands.multiprocessing.queues import (
    Empty,
    Full,
    JoinableQueue,
    Queue,
    ShutDown,
    SimpleQueue,
)

METHODS = {
    "Queue": "put get put_nowait get_nowait qsize empty full close join_thread cancel_join_thread",
    "JoinableQueue": "put get task_done join",
    "SimpleQueue": "put get empty close",
}


@pytest.mark.parametrize(
    ("name", "method"), [(name, m) for name, all_ in METHODS.items() for m in all_.split()]
)
def test_a_method_has_the_standard_signature(name, method):
    theirs = inspect.signature(getattr(getattr(standard.queues, name), method))
    mine = inspect.signature(getattr(globals()[name], method))
    assert list(mine.parameters) == list(theirs.parameters)
    defaults = [p.default for p in theirs.parameters.values()]
    assert [p.default for p in mine.parameters.values()] == defaults


def test_items_come_out_in_the_order_in_which_they_were_put():
    queue = Queue()
    items = [1, "two", 3.0, None, b"five", {"six": [6]}, ("seven",), 8**80, "\udc80", True]
    for item in items:
        queue.put(item)
    assert queue.qsize() == len(items)
    assert [queue.get() for _ in items] == items
    assert queue.empty()


@pytest.mark.parametrize("n", [0, 1, 200, 201, 2_046, 2_047, 2_048, 4_096, 70_000, 1 << 20])
def test_bytes_of_any_length_arrive_whole(n):
    queue = Queue()
    for item in (bytes(range(256)) * (n // 256 + 1))[:n], bytearray(n), "x" * n:
        queue.put(item)
        assert queue.get() == item


def test_a_full_queue_refuses_at_once_or_after_the_timeout():
    queue = Queue(1)
    queue.put(1)
    assert queue.full()
    for put in (
        lambda: queue.put(2, False),
        lambda: queue.put_nowait(2),
        lambda: queue.put(2, timeout=0),
        lambda: queue.put(2, timeout=-1),
    ):
        with pytest.raises(Full):
            put()
    started = time.monotonic()
    with pytest.raises(Full):
        queue.put(2, True, 0.15)
    assert time.monotonic() - started >= 0.15
    assert queue.get() == 1


def test_an_empty_queue_refuses_at_once_or_after_the_timeout():
    queue = Queue()
    for get in (
        lambda: queue.get(False),
        queue.get_nowait,
        lambda: queue.get(timeout=0),
        lambda: queue.get(timeout=-3),
        lambda: queue.get_many(5, timeout=0),
    ):
        with pytest.raises(Empty):
            get()
    started = time.monotonic()
    with pytest.raises(Empty):
        queue.get(timeout=0.15)
    assert time.monotonic() - started >= 0.15


@pytest.mark.parametrize("timeout", ["soon", float("nan")])
def test_a_timeout_that_is_no_time_is_refused(timeout):
    queue = Queue(1)
    with pytest.raises((TypeError, ValueError)):
        queue.get(timeout=timeout)


def test_a_closed_queue_refuses_as_the_standard_one():
    for queue in Queue(), JoinableQueue():
        queue.close()
        queue.close()
        queue.join_thread()
        with pytest.raises(ValueError, match="is closed"):
            queue.put("foo")
        with pytest.raises(ValueError, match="is closed"):
            queue.get()
        # It was never used.
        assert queue.empty()
    used = Queue()
    used.put(1)
    used.close()
    with pytest.raises(OSError, match="is closed"):
        used.empty()
    simple = SimpleQueue()
    simple.close()
    for call in (lambda: simple.put(1), simple.get, simple.empty):
        with pytest.raises(OSError, match="is closed"):
            call()


def test_join_thread_of_an_open_queue_is_refused():
    with pytest.raises(AssertionError, match="not closed"):
        Queue().join_thread()


def test_items_put_before_close_are_there_for_others():
    queue = Queue()
    other = pickle.loads(pickle.dumps(queue))
    queue.put("rice")
    queue.close()
    assert other.get() == "rice"


def test_what_cannot_be_pickled_raises_where_it_is_put_and_nothing_is_put():
    queue = Queue()
    with pytest.raises(TypeError, match="cannot pickle"):
        queue.put(threading.Lock())
    with pytest.raises(TypeError, match="cannot pickle"):
        queue.put_many([1, 2, threading.Lock()])
    assert queue.empty()
    queue.put("rice")
    assert queue.get() == "rice"


def test_a_class_that_handles_what_cannot_be_pickled_is_asked():
    refused = []

    class Tolerant(Queue):
        def _on_queue_feeder_error(self, e, obj):
            refused.append((type(e), obj))

    queue = Tolerant(ctx=ours.get_context())
    lock = threading.Lock()
    queue.put(lock)
    queue.put(True)
    assert queue.get(timeout=5) is True
    assert refused == [(TypeError, lock)]


def test_a_function_that_no_other_process_can_import_travels_by_value():
    queue = Queue()
    number = 20
    queue.put(lambda: number + 1)
    assert queue.get()() == 21


def test_many_items_are_put_and_got_at_once():
    queue = Queue(5)
    queue.put_many(iter("abc"))
    assert queue.get_many(2) == ["a", "b"]
    assert queue.get_many(10) == ["c"]
    assert queue.get_many(0) == []
    with pytest.raises(ValueError, match="non-negative"):
        queue.get_many(-1)
    with pytest.raises(Full) as caught:
        queue.put_many(range(8), timeout=0.05)
    assert caught.value.n_put == 5
    assert queue.get_many(100) == [0, 1, 2, 3, 4]


class _Broken:
    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return _fail, (self.error,)


def _fail(error):
    raise error


def test_an_item_that_cannot_be_unpickled_costs_no_other_of_its_batch():
    queue = Queue()
    queue.put_many([1, _Broken(KeyError("first")), "two", _Broken(OSError("second")), [3]])
    with pytest.raises(KeyError, match="first") as caught:
        queue.get_many(10)
    assert caught.value.items == [1, "two", [3]]
    (note,) = caught.value.__notes__
    assert "OSError: second" in note
    assert queue.empty()
    queue.put_many([_Broken(KeyboardInterrupt()), 4, 5])
    with pytest.raises(KeyboardInterrupt) as interrupted:
        queue.get_many(2)
    assert interrupted.value.items == [4]
    assert queue.get() == 5


def test_put_many_waits_for_room(start):
    queue = Queue(3)
    putting = start(queue.put_many, range(100))
    got = []
    while len(got) < 100:
        got += queue.get_many(7)
    putting.result()
    assert got == list(range(100))


def test_a_shutdown_refuses_puts_and_ends_gets_when_all_is_got(start):
    queue = Queue()
    waiting = [start(queue.get) for _ in range(3)]
    queue.put_many([1, 2, 3])
    assert sorted(got.result() for got in waiting) == [1, 2, 3]
    queue.put("last")
    queue.shutdown()
    for put in (lambda: queue.put(1), lambda: queue.put_nowait(1), lambda: queue.put_many([1])):
        with pytest.raises(ShutDown):
            put()
    assert queue.is_shutdown
    assert list(queue) == ["last"]
    with pytest.raises(ShutDown):
        queue.get(timeout=1)


def test_an_immediate_shutdown_drops_what_is_in_the_queue(start, until):
    queue = JoinableQueue(2)
    queue.put_many("ab")
    joining, putting = start(queue.join), start(queue.put, "c")
    until(lambda: queue.statistics()["putters_waiting"] == 1)
    queue.shutdown(immediate=True)
    joining.result()
    assert isinstance(putting.error(), ShutDown)
    assert queue.empty()


def test_task_done_is_counted_over_all_processes(ctx):
    queue = JoinableQueue(ctx=ctx)
    workers = [ctx.Process(target=_do_all, args=(queue,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    queue.put_many(range(50))
    queue.join()
    queue.shutdown()
    for worker in workers:
        worker.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def _do_all(queue):
    for _ in queue:
        queue.task_done()


def test_a_generic_alias_is_made():
    assert Queue[int].__origin__ is Queue


def test_statistics_and_repr_tell_what_is_there(start, until):
    queue = Queue(3)
    queue.put("rice")
    assert "1 of 3 items" in repr(queue)
    queue.get()
    waiting = start(queue.get)
    until(lambda: queue.statistics()["getters_waiting"] == 1)
    assert "1 waiting to get" in repr(queue)
    queue.put(None)
    waiting.result()
    statistics = queue.statistics()
    assert (statistics["put"], statistics["got"], statistics["lost"]) == (2, 2, 0)
    queue.close()
    assert repr(queue).endswith("closed>")
