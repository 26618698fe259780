"""What programs rely on in the standard module, and what ours adds to it."""

import copy
import gc
import pickle
import queue as standard
import sys
import time
import weakref

import pytest
from manyhands import queue as ours

CLASSES = ["Queue", "LifoQueue", "PriorityQueue"]
HAS_SHUTDOWN = sys.version_info >= (3, 13)


@pytest.fixture(params=CLASSES)
def make(module, request):
    return getattr(module, request.param)


@pytest.fixture(params=CLASSES)
def make_ours(request):
    return getattr(ours, request.param)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Queue", [3, 1, 2]),
        ("LifoQueue", [2, 1, 3]),
        ("PriorityQueue", [1, 2, 3]),
        ("SimpleQueue", [3, 1, 2]),
    ],
)
def test_items_leave_in_the_order_of_the_class(module, name, expected):
    queue = getattr(module, name)()
    for item in (3, 1, 2):
        queue.put(item)
    assert [queue.get() for _ in range(3)] == expected


def test_arguments_may_be_given_by_position_and_by_name(make):
    queue = make(2)
    queue.put(1, True, 5)
    queue.put(item=2, block=True, timeout=None)
    assert queue.maxsize == 2
    assert sorted([queue.get(True, 5), queue.get(block=True, timeout=None)]) == [1, 2]
    assert make(maxsize=3).maxsize == 3


def test_a_queue_without_room_refuses_and_an_empty_one_too(module, make):
    queue = make(1)
    for get in (queue.get_nowait, lambda: queue.get(False), lambda: queue.get(timeout=0.01)):
        with pytest.raises(module.Empty):
            get()
    queue.put_nowait(1)
    for put in (
        lambda: queue.put_nowait(2),
        lambda: queue.put(2, block=0),
        lambda: queue.put(2, timeout=0.01),
    ):
        with pytest.raises(module.Full):
            put()
    assert (queue.qsize(), queue.empty(), queue.full()) == (1, False, True)


@pytest.mark.parametrize("timeout", [-1, -0.001, -float("inf")])
def test_a_negative_timeout_is_refused(make, timeout):
    queue = make(1)
    with pytest.raises(ValueError, match="non-negative"):
        queue.get(timeout=timeout)
    with pytest.raises(ValueError, match="non-negative"):
        queue.put(1, timeout=timeout)
    queue.put(1, block=False, timeout=timeout)
    assert queue.get(False, timeout) == 1


def test_a_timeout_that_is_no_number_is_refused(make):
    with pytest.raises(TypeError):
        make(1).get(timeout="soon")


def test_a_timed_wait_does_not_end_early(make):
    began = time.monotonic()
    with pytest.raises(standard.Empty):
        make().get(timeout=0.05)
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("maxsize", [0, -1])
def test_a_maxsize_of_zero_or_less_sets_no_limit(make, maxsize):
    queue = make(maxsize)
    for item in range(1000):
        queue.put_nowait(item)
    assert not queue.full()
    assert queue.maxsize == maxsize


def test_a_getter_asleep_gets_what_is_put(make, start):
    queue = make()
    getters = [start(queue.get) for _ in range(5)]
    for item in range(5):
        queue.put(item)
    assert sorted(getter.result() for getter in getters) == list(range(5))


def test_a_putter_asleep_goes_on_when_there_is_room(make, start):
    queue = make(1)
    queue.put(0)
    putters = [start(queue.put, item) for item in range(1, 5)]
    assert sorted(queue.get() for _ in range(5)) == list(range(5))
    for putter in putters:
        putter.result()


def test_join_ends_when_every_item_is_done(make, start):
    queue = make()
    queue.join()
    for item in range(3):
        queue.put(item)
    joiner = start(queue.join)
    for _ in range(3):
        assert not joiner.is_over()
        queue.get()
        queue.task_done()
    joiner.result()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_none_and_equal_items_are_items_like_others(module):
    queue = module.Queue()
    for item in (None, None, 0, False):
        queue.put(item)
    assert [queue.get() for _ in range(4)] == [None, None, 0, False]


def test_any_attribute_can_be_set_and_weak_references_made(make):
    queue = make()
    queue.owner = "kitchen"
    assert queue.owner == "kitchen"
    assert weakref.ref(queue)() is queue


def test_a_generic_alias_can_be_called(make):
    assert make[int](3).maxsize == 3


def test_a_subclass_may_have_arguments_of_its_own(make):
    class Named(make):
        def __init__(self, name, *, room):
            super().__init__(room)
            self.label = name

    queue = Named("orders", room=1)
    queue.put(1)
    assert (queue.label, queue.full()) == ("orders", True)


def test_put_nowait_and_get_nowait_go_through_an_overridden_put_and_get(make):
    class Doubled(make):
        def put(self, item, block=True, timeout=None):
            super().put(2 * item, block, timeout)

        def get(self, block=True, timeout=None):
            return super().get(block, timeout) + 1

    queue = Doubled()
    queue.put_nowait(5)
    assert queue.get_nowait() == 11


def test_the_exceptions_are_the_standard_ones():
    assert ours.Empty is standard.Empty
    assert ours.Full is standard.Full
    assert ours.SimpleQueue is standard.SimpleQueue
    assert not HAS_SHUTDOWN or ours.ShutDown is standard.ShutDown


def test_a_queue_of_ours_is_one_of_the_standard_class(make_ours):
    queue = make_ours()
    assert isinstance(queue, standard.Queue)
    assert isinstance(queue, getattr(standard, make_ours.__name__))
    assert isinstance(queue, ours.Queue)
    assert make_ours.__module__ == "manyhands.queue"


@pytest.mark.parametrize("is_immediate", [False, True])
def test_a_shutdown_ends_every_wait(make_ours, start, until, is_immediate):
    full, empty = make_ours(1), make_ours()
    full.put(1)
    ending = [start(full.put, 2), start(empty.get), start(empty.get, timeout=100)]
    until(lambda: full.statistics()["putters_waiting"] == 1)
    until(lambda: empty.statistics()["getters_waiting"] == 2)
    full.shutdown(is_immediate)
    empty.shutdown(is_immediate)
    for each in ending:
        assert isinstance(each.error(), ours.ShutDown)
    assert full.qsize() == (0 if is_immediate else 1)
    with pytest.raises(ours.ShutDown):
        full.put_nowait(3)


def test_what_is_left_can_be_got_after_a_shutdown(make_ours):
    queue = make_ours()
    queue.put(1)
    queue.shutdown()
    assert queue.get() == 1
    with pytest.raises(ours.ShutDown):
        queue.get_nowait()
    assert queue.is_shutdown


def test_an_immediate_shutdown_ends_join(make_ours, start):
    queue = make_ours()
    queue.put_many([1, 2])
    joiner = start(queue.join)
    queue.shutdown(immediate=True)
    joiner.result()
    assert queue.unfinished_tasks == 0


def test_iteration_ends_when_the_queue_is_shut_down_and_empty(make_ours, start):
    queue = make_ours()
    taken = start(lambda: sorted(queue))
    queue.put_many([2, 1, 3])
    queue.shutdown()
    assert taken.result() == [1, 2, 3]


def test_several_items_move_at_once(make_ours, start, until):
    queue = make_ours(3)
    putter = start(queue.put_many, iter(range(7)), timeout=60)
    until(lambda: queue.statistics()["putters_waiting"] == 1)
    taken = queue.get_many(2)
    while len(taken) < 7:
        taken += queue.get_many(100, timeout=60)
    assert sorted(taken) == list(range(7))
    putter.result()
    assert queue.get_many(0) == []
    with pytest.raises(ours.Empty):
        queue.get_many(1, timeout=0)
    with pytest.raises(ValueError, match="non-negative"):
        queue.get_many(-1)


def test_a_put_of_several_that_fails_says_how_many_were_put(make_ours):
    queue = make_ours(2)
    with pytest.raises(ours.Full) as failed:
        queue.put_many([1, 2, 3], timeout=0)
    assert failed.value.n_put == 2
    queue.shutdown()
    with pytest.raises(ours.ShutDown) as failed:
        queue.put_many([4])
    assert failed.value.n_put == 0


def test_an_iterable_that_raises_puts_nothing(make_ours):
    def items():
        yield 1
        raise LookupError("no more")

    queue = make_ours()
    with pytest.raises(LookupError):
        queue.put_many(items())
    assert queue.empty()


def test_a_putter_asleep_notices_a_greater_maxsize(make_ours, start, until):
    queue = make_ours(1)
    queue.put(1)
    putter = start(queue.put, 2)
    until(lambda: queue.statistics()["putters_waiting"] == 1)
    queue.maxsize = 2
    putter.result()
    assert queue.full()


def test_a_maxsize_that_is_no_number_is_refused(make_ours):
    with pytest.raises(TypeError, match="maxsize must be a number"):
        make_ours(None)
    unlimited = make_ours(float("inf"))
    unlimited.put(1)
    assert not unlimited.full()


def test_repr_and_statistics_tell_what_goes_on(make_ours, start, until):
    queue = make_ours(5, name="orders")
    getter = start(queue.get)
    until(lambda: queue.statistics()["getters_waiting"] == 1)
    shown = repr(queue)
    assert shown.startswith(f"<manyhands.queue.{make_ours.__name__} 'orders' at 0x")
    assert shown.endswith(": 0 of 5 items, 1 waiting to get>")
    queue.put(1)
    getter.result()
    queue.put(2)
    queue.shutdown()
    assert repr(queue).endswith(": 1 of 5 items, shut down>")
    counts = queue.statistics()
    assert (counts["put"], counts["got"], counts["unfinished"]) == (2, 1, 2)
    assert counts["get_waits"] >= 1
    assert queue.name == "orders"
    assert repr(make_ours()).endswith(": 0 items>")


@pytest.mark.parametrize("away", [pickle.dumps, copy.copy, copy.deepcopy])
def test_pickling_and_copying_say_why_not(make_ours, away):
    with pytest.raises(TypeError, match="threads of one process"):
        away(make_ours())


class Node:
    """Something that can be part of a cycle."""


def test_a_cycle_through_a_queue_is_collected(make_ours):
    queue = make_ours()
    node = Node()
    node.queue = queue
    queue.put(node)
    gone = weakref.ref(node)
    del node, queue
    gc.collect()
    assert gone() is None


def test_items_are_released_when_they_leave_and_with_the_queue(make_ours):
    items = [Node() for _ in range(3)]
    for number, item in enumerate(items):
        item.__class__ = type("Ordered", (Node,), {"__lt__": lambda self, other: False})
        item.number = number
    alive = [weakref.ref(item) for item in items]
    queue = make_ours()
    queue.put_many(items)
    del items, item
    taken = queue.get()
    assert sum(ref() is not None for ref in alive) == 3
    del taken
    assert sum(ref() is not None for ref in alive) == 2
    del queue
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 0
