"""How fast are the queues between threads?

Put and get in one thread; a producer and a consumer with room for 1,000 items; the other orders.
"""

import queue as standard
import threading

import _measure
from manyhands import queue as ours

culsans = _measure.optional("culsans")

MAXSIZE = 1_000


def alone(new_queue, n_items):
    """Nanoseconds for one put and one get by the same thread."""
    queue = new_queue()
    put, get = queue.put, queue.get

    def work():
        for item in range(n_items):
            put(item)
            get()

    return _measure.seconds(work) / n_items * 1e9


def between(new_queue, n_items):
    """Nanoseconds per item from a thread that puts to one that gets."""
    queue = new_queue()

    def produce():
        for item in range(n_items):
            queue.put(item)

    def work():
        producer = threading.Thread(target=produce)
        producer.start()
        for _ in range(n_items):
            queue.get()
        producer.join()

    return _measure.seconds(work) / n_items * 1e9


def lanes(measure, n_items, own, theirs, peer=None):
    """One lane per implementation of the same class."""
    found = {"ours": lambda: measure(own, n_items), "standard": lambda: measure(theirs, n_items)}
    if culsans is not None and peer is not None:
        found["culsans"] = lambda: measure(lambda: peer().sync_q, n_items)
    return found


def rows(quick):
    n_items, n_repeats = (2_000, 2) if quick else (50_000, 11)
    peer = culsans and culsans.Queue

    def bounded(queue_class):
        return queue_class and (lambda: queue_class(MAXSIZE))

    for name, measure, new in (
        ("Queue: put + get, one thread", alone, lambda queue_class: queue_class),
        ("Queue: two threads, maxsize 1000", between, bounded),
    ):
        values = _measure.interleave(
            lanes(measure, n_items, new(ours.Queue), new(standard.Queue), new(peer)), n_repeats
        )
        yield _measure.Row(name, "ns/item", values, kind="ratio", target=8)
        if "culsans" in values:
            values = {"ours": values["ours"], "culsans": values["culsans"]}
            against = ("culsans",)
            yield _measure.Row(f"{name}, culsans", "ns/item", values, against, "ratio", 6)
    for name, target in (("LifoQueue", 3), ("PriorityQueue", 3)):
        values = _measure.interleave(
            lanes(alone, n_items, getattr(ours, name), getattr(standard, name)), n_repeats
        )
        yield _measure.Row(
            f"{name}: put + get, one thread", "ns/item", values, kind="ratio", target=target
        )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
