"""Programs that override the hooks or use the parts of a queue find the standard behaviour."""

import collections
import threading

import pytest
from manyhands import queue as ours

CLASSES = ["Queue", "LifoQueue", "PriorityQueue"]


@pytest.fixture(params=CLASSES)
def make(module, request):
    return getattr(module, request.param)


@pytest.fixture(params=CLASSES)
def make_ours(request):
    return getattr(ours, request.param)


def unique_queue(module):
    """A queue of the kind that the documentation of the hooks allows."""

    class UniqueQueue(module.Queue):
        def _init(self, maxsize):
            self.queue = collections.OrderedDict()

        def _qsize(self):
            return len(self.queue)

        def _put(self, item):
            self.queue[item] = None

        def _get(self):
            return self.queue.popitem(last=False)[0]

    return UniqueQueue


def test_overridden_hooks_are_used_by_every_method(module):
    queue = unique_queue(module)(2)
    for item in ("a", "b", "a"):
        if not queue.full():
            queue.put(item)
    assert (queue.qsize(), queue.full(), queue.empty()) == (2, True, False)
    with pytest.raises(module.Full):
        queue.put_nowait("c")
    assert [queue.get(), queue.get_nowait()] == ["a", "b"]
    with pytest.raises(module.Empty):
        queue.get(timeout=0.01)
    queue.task_done()
    queue.task_done()
    queue.join()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_one_overridden_hook_is_enough(make):
    class Loud(make):
        def _put(self, item):
            super()._put(item)
            self.last = item

    queue = Loud()
    queue.put(3)
    queue.put(1)
    assert queue.last == 1
    assert sorted([queue.get(), queue.get()]) == [1, 3]


def test_the_mutex_is_held_while_a_hook_runs(module):
    class Watched(module.Queue):
        def _put(self, item):
            assert self.mutex.locked()
            super()._put(item)

        def _get(self):
            assert self.mutex.locked()
            return super()._get()

    queue = Watched()
    queue.put(1)
    assert queue.get() == 1


def test_a_hook_that_raises_leaves_the_queue_usable(module):
    class Failing(module.Queue):
        fails = False

        def _put(self, item):
            if self.fails:
                raise LookupError("no room in the pantry")
            super()._put(item)

    queue = Failing(2)
    queue.put(1)
    queue.fails = True
    with pytest.raises(LookupError):
        queue.put(2)
    queue.fails = False
    queue.put(3)
    assert (queue.unfinished_tasks, queue.get(), queue.get()) == (2, 1, 3)


def test_threads_wait_for_each_other_through_overridden_hooks(module, start):
    queue = unique_queue(module)(1)
    putters = [start(queue.put, item) for item in "abcde"]
    assert sorted(queue.get(timeout=60) for _ in range(5)) == list("abcde")
    for putter in putters:
        putter.result()


def test_the_container_can_be_read_and_changed_under_the_mutex(module, make):
    queue = make()
    for item in (1, 2, 3):
        queue.put(item)
    with queue.mutex:
        assert sorted(queue.queue) == [1, 2, 3]
        queue.queue.clear()
    assert queue.empty()
    with pytest.raises(module.Empty):
        queue.get_nowait()


def test_the_order_is_kept_when_the_parts_are_touched(make):
    queue, same = make(), make()
    for item in (3, 1, 2):
        queue.put(item)
        same.put(item)
    assert len(queue.queue) == 3
    queue.put(0)
    same.put(0)
    assert [queue.get() for _ in range(4)] == [same.get() for _ in range(4)]


def test_the_container_is_of_the_standard_type(module):
    assert type(module.Queue().queue) is collections.deque
    assert type(module.LifoQueue().queue) is list
    assert type(module.PriorityQueue().queue) is list


def test_a_thread_can_wait_on_the_conditions(module, start):
    queue = module.Queue()

    def wait_for_three():
        with queue.not_empty:
            while len(queue.queue) < 3:
                queue.not_empty.wait()
            return list(queue.queue)

    waiting = start(wait_for_three)
    for item in range(3):
        queue.put(item)
    assert waiting.result() == [0, 1, 2]


def test_a_holder_of_the_mutex_keeps_others_out(module, start):
    queue = module.Queue()
    with queue.mutex:
        putter = start(queue.put, 1)
        assert len(queue.queue) == 0
        assert not putter.is_over()
    putter.result()


def test_the_parts_can_be_replaced(module):
    class Reentrant(module.Queue):
        def __init__(self):
            super().__init__()
            self.mutex = threading.RLock()
            self.not_empty = threading.Condition(self.mutex)
            self.not_full = threading.Condition(self.mutex)
            self.all_tasks_done = threading.Condition(self.mutex)

    queue = Reentrant()
    with queue.mutex:
        queue.put(1)
        assert queue.get() == 1


def test_the_count_of_unfinished_tasks_can_be_set(module):
    queue = module.Queue()
    queue.put(1)
    assert queue.unfinished_tasks == 1
    with queue.all_tasks_done:
        queue.unfinished_tasks = 0
        queue.all_tasks_done.notify_all()
    queue.join()


def test_sleepers_of_every_kind_go_on_when_the_parts_are_touched(make_ours, start, until):
    empty, full = make_ours(), make_ours(1)
    full.put(0)
    getter, timed, many = start(empty.get), start(empty.get, timeout=60), start(empty.get_many, 1)
    putter, joiner = start(full.put, 1), start(full.join)
    until(lambda: empty.statistics()["getters_waiting"] == 3)
    until(lambda: full.statistics()["putters_waiting"] == 1)
    with empty.mutex, full.mutex:
        pass
    empty.put_many([5, 6, 7])
    assert sorted([getter.result(), timed.result(), *many.result()]) == [5, 6, 7]
    assert sorted([full.get(timeout=60), full.get(timeout=60)]) == [0, 1]
    putter.result()
    full.task_done()
    full.task_done()
    joiner.result()


def test_a_timed_wait_keeps_its_deadline_when_the_parts_are_touched(start, until):
    queue = ours.Queue()
    getter = start(queue.get, timeout=0.2)
    until(lambda: queue.statistics()["getters_waiting"] == 1)
    assert not queue.queue
    assert isinstance(getter.error(), ours.Empty)


def test_an_exposed_queue_has_what_ours_adds(make_ours, start):
    queue = make_ours(3, name="open")
    assert len(queue.queue) == 0
    queue.put_many([1, 2, 3])
    assert "3 of 3 items" in repr(queue)
    assert sorted(queue.get_many(2)) != []
    assert queue.statistics()["put"] == 3
    rest = start(lambda: list(queue))
    queue.shutdown()
    assert len(rest.result()) == 1
    with pytest.raises(ours.ShutDown):
        queue.put(4)
    with pytest.raises(ours.ShutDown):
        queue.get()
    assert queue.is_shutdown


def test_what_was_unfinished_and_shut_down_stays_so_when_the_parts_are_touched(make_ours):
    queue = make_ours()
    queue.put_many([1, 2])
    queue.get()
    queue.shutdown()
    with queue.mutex:
        assert queue.unfinished_tasks == 2
        assert queue.is_shutdown
    with pytest.raises(ours.ShutDown):
        queue.put(3)
    assert queue.get() in (1, 2)


def test_an_immediate_shutdown_of_an_exposed_queue_ends_join(make_ours, start):
    queue = make_ours()
    queue.put_many([1, 2])
    assert queue.queue
    joiner = start(queue.join)
    queue.shutdown(immediate=True)
    joiner.result()


def test_reading_counts_does_not_expose_a_queue():
    queue = ours.Queue()
    queue.put(1)
    assert (queue.unfinished_tasks, queue.is_shutdown, queue._qsize()) == (1, False, 1)
    assert not queue._is_exposed


def test_nothing_is_lost_while_the_parts_are_touched_for_the_first_time(make_ours, start):
    for _ in range(30):
        queue = make_ours(2)
        getters = [start(lambda q=queue: list(q)) for _ in range(3)]
        putters = [start(queue.put_many, range(10 * n, 10 * n + 10)) for n in range(3)]
        with queue.mutex:
            assert len(queue.queue) <= 2
        for putter in putters:
            putter.result()
        queue.shutdown()
        taken = [item for getter in getters for item in getter.result()]
        assert sorted(taken) == list(range(30))
