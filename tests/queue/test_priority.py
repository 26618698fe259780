"""PriorityQueue: comparisons are Python code, and may do anything."""

import threading

import pytest
from manyhands import queue as ours


class Compared:
    """An item whose comparisons call `during`."""

    def __init__(self, rank, during=None):
        self.rank, self.during = rank, during

    def __lt__(self, other):
        if self.during is not None:
            self.during()
        return self.rank < other.rank


def test_items_that_cannot_be_compared_leave_the_queue_as_the_standard_does(module):
    queue = module.PriorityQueue()
    queue.put(1)
    with pytest.raises(TypeError):
        queue.put("two")
    # As in the standard class the item stays in the heap, but counts as no task.
    assert (queue.qsize(), queue.unfinished_tasks) == (2, 1)
    assert queue.get() == 1
    assert queue.get() == "two"
    assert queue.empty()


def test_a_comparison_that_raises_in_get_costs_one_item(module):
    def fail():
        raise LookupError("not comparable today")

    queue = module.PriorityQueue()
    items = [Compared(rank) for rank in range(4)]
    for item in items:
        queue.put(item)
    for item in items:
        item.during = fail
    with pytest.raises(LookupError):
        queue.get()
    for item in items:
        item.during = None
    assert queue.qsize() == 3
    assert len([queue.get() for _ in range(3)]) == 3
    with pytest.raises(module.Empty):
        queue.get_nowait()


def test_equal_items_need_only_less_than():
    queue = ours.PriorityQueue()
    queue.put_many(Compared(rank) for rank in (2, 1, 2, 1))
    assert [item.rank for item in queue.get_many(4)] == [1, 1, 2, 2]


def test_other_threads_wait_while_a_comparison_runs(start):
    entered, go_on = threading.Event(), threading.Event()

    def during():
        entered.set()
        assert go_on.wait(60)

    queue = ours.PriorityQueue()
    queue.put(Compared(2))
    slow = start(queue.put, Compared(1, during))
    assert entered.wait(60)
    others = [start(queue.put, Compared(3)), start(queue.get_nowait), start(queue.get_many, 1)]
    assert not any(other.is_over() for other in others)
    go_on.set()
    slow.result()
    for other in others:
        other.result()
    assert queue.qsize() == 1


def test_using_the_queue_from_a_comparison_is_refused_instead_of_hanging():
    uses = (lambda queue: queue.put(0), lambda queue: queue.get(), lambda queue: queue.queue)
    for use in uses:
        queue = ours.PriorityQueue()
        queue.put(Compared(1))
        item = Compared(2, lambda queue=queue, use=use: use(queue))
        with pytest.raises(RuntimeError, match="use another queue there"):
            queue.put(item)
        item.during = None
        assert [queue.get().rank, queue.get().rank] == [1, 2]


def test_many_threads_lose_nothing(start):
    queue = ours.PriorityQueue(5)
    getters = [start(lambda: list(queue)) for _ in range(4)]
    putters = [
        start(queue.put_many, [Compared(100 * n + rank) for rank in range(100)]) for n in range(4)
    ]
    for putter in putters:
        putter.result()
    queue.shutdown()
    taken = sorted(item.rank for getter in getters for item in getter.result())
    assert taken == list(range(400))


def test_a_single_getter_gets_what_is_there_in_order():
    queue = ours.PriorityQueue()
    queue.put_many([5, 3, 9, 1])
    assert queue.get() == 1
    queue.put(0)
    assert queue.get_many(10) == [0, 3, 5, 9]
