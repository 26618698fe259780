"""What does one item cost in multiprocessing.Pool, one by one and in chunks?

50,000 items, two workers.  The standard pool uses "fork", mpire its default ("fork" as well).
"""

import multiprocessing

import _measure
from manyhands import multiprocessing as ours

N_WORKERS = 2

mpire = _measure.optional("mpire")


def successor(number):
    """Do almost nothing."""
    return number + 1


def per_item(n_items, work):
    """Microseconds per item."""
    return _measure.seconds(work) / n_items * 1e6


def calls(pool, n_items):
    """apply_async of each item, then all results."""
    results = [pool.apply_async(successor, (number,)) for number in range(n_items)]
    return sum(result.get() for result in results)


QUESTIONS = (
    # name, what a standard pool and ours do, what mpire does, the ratio to reach
    ("map, chunksize=1", lambda p, n: p.map(successor, numbers(n), 1), "map", 1, 8),
    ("map, automatic chunksize", lambda p, n: p.map(successor, numbers(n)), "map", None, 1),
    ("map of a range, automatic", lambda p, n: p.map(successor, range(n)), None, None, 1),
    ("map of floats, automatic", lambda p, n: p.map(abs, floats(n)), None, None, 1),
    ("starmap, chunksize=1", lambda p, n: p.starmap(min, pairs(n), 1), None, 1, 8),
    ("imap, chunksize=1", lambda p, n: list(p.imap(successor, numbers(n))), "imap", 1, 8),
    ("imap, chunksize=100", lambda p, n: list(p.imap(successor, numbers(n), 100)), "imap", 100, 1),
    (
        "imap_unordered, chunksize=1",
        lambda p, n: list(p.imap_unordered(successor, numbers(n))),
        None,  # mpire cannot after a map, in a pool that is kept alive
        1,
        4,
    ),
    (
        "imap of a generator, chunksize=1",
        lambda p, n: list(p.imap(successor, (i for i in range(n)))),
        None,
        1,
        2,
    ),
    ("apply_async of each, then get", calls, None, None, 4),
    ("apply, one at a time", lambda p, n: [p.apply(successor, (1,)) for _ in range(n)], None, 1, 4),
)


def numbers(n_items):
    return list(range(n_items))


def floats(n_items):
    return [float(number) for number in range(n_items)]


def pairs(n_items):
    return [(number, number + 1) for number in range(n_items)]


def with_mpire(pool, method, n_items, chunksize):
    """What mpire calls the same; None where it has nothing like it."""
    results = getattr(pool, method)(successor, numbers(n_items), chunk_size=chunksize)
    return list(results)


def rows(quick):
    n_items = 2_000 if quick else 50_000
    # The one that forks comes first, while this process has no other threads.
    with multiprocessing.get_context("fork").Pool(N_WORKERS) as theirs:
        theirs.map(successor, range(100))
        peer = mpire.WorkerPool(N_WORKERS, keep_alive=True) if mpire else None
        with ours.Pool(N_WORKERS) as own:
            for name, work, method, chunksize, target in QUESTIONS:
                size = n_items // 10 if name.startswith("apply,") else n_items
                lanes = {
                    "ours": lambda work=work, size=size: per_item(size, lambda: work(own, size)),
                    "standard": lambda work=work, size=size: per_item(
                        size, lambda: work(theirs, size)
                    ),
                }
                if peer and method:
                    lanes["mpire"] = lambda method=method, chunk=chunksize, size=size: per_item(
                        size, lambda: with_mpire(peer, method, size, chunk)
                    )
                values = _measure.interleave(lanes, 1 if quick else 5)
                yield _measure.Row(
                    f"Pool.{name}", "us/item", values, kind="ratio", target=float(target)
                )
        if peer:
            peer.terminate()


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
