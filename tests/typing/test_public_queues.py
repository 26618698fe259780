"""What type checkers make of the queues: mypy checks this file, pytest runs it."""

import asyncio
import queue as standard
from typing import assert_type

from manyhands.queue import LifoQueue, PriorityQueue, Queue


def test_a_queue_knows_the_type_of_its_items() -> None:
    queue: Queue[int] = Queue(maxsize=5, name="numbers")
    queue.put_many([1, 2, 3])
    queue.put("four")  # type: ignore[arg-type]  # mypy complains if this one is unused
    assert assert_type(queue.get(timeout=60), int) == 1
    assert assert_type(queue.get_many(1), list[int]) == [2]
    assert assert_type(asyncio.run(queue.aget()), int) == 3
    queue.shutdown()
    assert len([assert_type(item, int) for item in queue]) == 1


def test_the_other_orders_do_too() -> None:
    last, smallest = LifoQueue[str](), PriorityQueue[tuple[int, str]]()
    last.put("rice")
    smallest.put((1, "rice"))
    assert assert_type(last.get(), str) == "rice"
    assert assert_type(smallest.get(), tuple[int, str]) == (1, "rice")


def test_a_queue_is_accepted_where_a_standard_one_is() -> None:
    def drain(queue: standard.Queue[int]) -> int:
        return queue.get()

    queue = Queue[int]()
    queue.put(7)
    assert drain(queue) == 7
