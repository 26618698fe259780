"""How fast are the queues between processes?

From processes that put to processes that get: small numbers one by one and in batches, four to
four, 1 MiB of bytes, NumPy arrays of 8 MiB.
"""

import multiprocessing as standard
import os
import time

import _measure
from manyhands.multiprocessing import queues as ours

faster_fifo = _measure.optional("faster_fifo")
np = _measure.optional("numpy")

BATCH = 100


def _child(work):
    """A forked process that does `work`, and nothing at its exit."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def _put_numbers(queue, n_items):
    put = queue.put
    for number in range(n_items):
        put(number)
    _flush(queue)


def _put_batches(queue, n_items):
    for start in range(0, n_items, BATCH):
        queue.put_many(list(range(start, start + BATCH)))
    _flush(queue)


def _put_copies(item):
    def put(queue, n_items):
        for _ in range(n_items):
            queue.put(item)
        _flush(queue)

    return put


def _flush(queue):
    if hasattr(queue, "join_thread"):
        queue.close()
        queue.join_thread()


def _get_numbers(queue, n_items):
    get = queue.get
    for _ in range(n_items):
        get()


def _get_batches(queue, n_items):
    while n_items > 0:
        n_items -= len(queue.get_many())


def _get_our_batches(queue, n_items):
    while n_items > 0:
        n_items -= len(queue.get_many(BATCH))


def exchange(new_queue, put, get, n_items, n_pairs=1):
    """Nanoseconds per item from `n_pairs` processes that put to as many that get.

    From the moment in which every process is there to the end of the last getter.
    """
    queue = new_queue()
    n_each = n_items // n_pairs
    gate_out, gate_in = os.pipe()

    def after_the_start(work):
        def run():
            os.close(gate_in)
            os.read(gate_out, 1)
            work(queue, n_each)

        return run

    children = [_child(after_the_start(put)) for _ in range(n_pairs)]
    children += [_child(after_the_start(get)) for _ in range(n_pairs)]
    os.close(gate_out)
    time.sleep(0.01)
    started = time.perf_counter()
    # End-of-file for all.
    os.close(gate_in)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    taken = time.perf_counter() - started
    assert statuses == [0] * len(children), statuses
    return taken / (n_each * n_pairs) * 1e9


def _new_faster_fifo():
    # Room for everything: a full one of these refuses.
    return faster_fifo.Queue(max_size_bytes=64 << 20)


def rows(quick):
    n_items, n_repeats = (2_000, 2) if quick else (60_000, 7)
    new_ours, new_standard = ours.Queue, standard.Queue
    numbers = (_put_numbers, _get_numbers)

    def of(new, put, get, n=n_items, n_pairs=1):
        return lambda: exchange(new, put, get, n, n_pairs)

    lanes = {
        "ours": of(new_ours, *numbers),
        "standard": of(new_standard, *numbers, n_items // 4),
    }
    values = _measure.interleave(lanes, n_repeats)
    yield _measure.Row("1 producer, 1 consumer, ints", "ns/item", values, kind="ratio", target=8)
    if faster_fifo is not None:
        lanes = {
            "ours": of(new_ours, *numbers),
            "faster-fifo": of(_new_faster_fifo, *numbers),
        }
        values = _measure.interleave(lanes, n_repeats)
        yield _measure.Row(
            "1 to 1, get of faster-fifo", "ns/item", values, ("faster-fifo",), "ratio", 5
        )
        lanes = {
            "ours": of(new_ours, _put_batches, _get_our_batches),
            "faster-fifo": of(_new_faster_fifo, _put_batches, _get_batches),
        }
        values = _measure.interleave(lanes, n_repeats)
        yield _measure.Row(
            "1 to 1, batches of 100, get_many of faster-fifo",
            "ns/item",
            values,
            ("faster-fifo",),
            "ratio",
            3,
        )
    lanes = {
        "ours": of(new_ours, *numbers, n_pairs=4),
        "standard": of(new_standard, *numbers, n_items // 4, 4),
    }
    values = _measure.interleave(lanes, n_repeats)
    yield _measure.Row("4 producers, 4 consumers", "ns/item", values, kind="ratio", target=8)
    large = [("1 MiB of bytes", b"x" * (1 << 20), 200, 4)]
    if np is not None:
        large.append(("NumPy array of 8 MiB", np.ones(1 << 20), 40, 8))
    for name, item, n_copies, target in large:
        n = n_copies // 10 if quick else n_copies
        lanes = {
            # As much as the standard one's pipe and feeder keep on their way.
            "ours": of(lambda: new_ours(4), _put_copies(item), _get_numbers, n),
            "standard": of(lambda: new_standard(4), _put_copies(item), _get_numbers, n),
        }
        values = _measure.interleave(lanes, n_repeats)
        yield _measure.Row(name, "ns/item", values, kind="ratio", target=target)


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
