"""How fast is a managed dict, beside the standard manager's and UltraDict?

One process sets a key and gets it again; the same for a list; the counting of eight processes. The
standard manager asks a server process; UltraDict has a lock and a stream of changes in shared
memory.
"""

import multiprocessing as standard

import _measure
from manyhands import multiprocessing as ours

try:
    from UltraDict import UltraDict
except ImportError:
    UltraDict = None

N_PROCESSES = 8


def set_and_get(container, key, n_items):
    """Nanoseconds for one set and one get of a small value."""

    def work():
        for item in range(n_items):
            container[key] = item
            container[key]

    return _measure.seconds(work) / n_items * 1e9


def append_and_get(container, n_items):
    """Nanoseconds for one append and one get."""
    del container[:]

    def work():
        for item in range(n_items):
            container.append(item)
            container[item]

    return _measure.seconds(work) / n_items * 1e9


def count(context, new_dict, n_items):
    """Nanoseconds for each of the additions that several processes make to one number."""
    counts = new_dict()
    counts["n"] = 0
    lock = context.Lock()
    processes = [
        context.Process(target=add, args=(counts, lock, n_items)) for _ in range(N_PROCESSES)
    ]

    def work():
        for process in processes:
            process.start()
        for process in processes:
            process.join()

    taken = _measure.seconds(work)
    assert counts["n"] == N_PROCESSES * n_items
    return taken / (N_PROCESSES * n_items) * 1e9


def add(counts, lock, n_items):
    if hasattr(counts, "add"):
        for _ in range(n_items):
            counts.add("n")
    else:
        for _ in range(n_items):
            with lock:
                counts["n"] += 1


def rows(quick):
    n_items, n_slow, n_repeats = (500, 50, 2) if quick else (50_000, 3_000, 9)
    own_manager, standard_manager = ours.Manager(), standard.get_context("fork").Manager()
    with own_manager, standard_manager:
        own, theirs = own_manager.dict(), standard_manager.dict()
        lanes = {
            "ours": lambda: set_and_get(own, "key", n_items),
            "standard": lambda: set_and_get(theirs, "key", n_slow),
        }
        values = _measure.interleave(lanes, n_repeats)
        yield _measure.Row("dict: set + get", "ns", values, kind="ratio", target=30)
        if UltraDict is not None:
            peer = UltraDict(auto_unlink=True)
            lanes = {
                "ours": lambda: set_and_get(own, "key", n_items),
                "UltraDict": lambda: set_and_get(peer, "key", n_items),
            }
            values = _measure.interleave(lanes, n_repeats)
            peer.close()
            against = ("UltraDict",)
            yield _measure.Row("dict: set + get, UltraDict", "ns", values, against, "ratio", 3)
        own_list, their_list = own_manager.list(), standard_manager.list()
        lanes = {
            "ours": lambda: append_and_get(own_list, n_items),
            "standard": lambda: append_and_get(their_list, n_slow),
        }
        values = _measure.interleave(lanes, n_repeats)
        yield _measure.Row("list: append + get", "ns", values, kind="ratio", target=30)
        lanes = {
            "ours": lambda: count(ours.get_context("fork"), own_manager.dict, n_slow),
            "standard": lambda: count(
                standard.get_context("fork"), standard_manager.dict, n_slow // 10
            ),
        }
        values = _measure.interleave(lanes, 2 if quick else 3)
        yield _measure.Row("8 processes add to one number", "ns", values, kind="none")


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
