"""What does one item of map cost over processes, item by item?

50,000 items, chunksize=1, two workers, results taken in order.  The standard pool uses "fork".
"""

import concurrent.futures as standard
import multiprocessing

import _measure
from manyhands import futures as ours

N_WORKERS = 2


def successor(number):
    """Do almost nothing."""
    return number + 1


def map_items(executor, n_items, chunksize):
    """Microseconds per item."""
    elapsed = _measure.seconds(
        lambda: sum(executor.map(successor, range(n_items), chunksize=chunksize))
    )
    return elapsed / n_items * 1e6


def rows(quick):
    n_items = 2_000 if quick else 50_000
    fork = multiprocessing.get_context("fork")
    with standard.ProcessPoolExecutor(N_WORKERS, mp_context=fork) as theirs:
        # The one that forks comes first, while this process has no other threads.
        list(theirs.map(abs, range(100)))
        with ours.ProcessPoolExecutor(N_WORKERS) as own:
            for chunksize, target in ((1, 20), (500, 0)):
                values = _measure.interleave(
                    {
                        "ours": lambda size=chunksize: map_items(own, n_items, size),
                        "standard": lambda size=chunksize: map_items(theirs, n_items, size),
                    },
                    1 if quick else 5,
                )
                yield _measure.Row(
                    f"processes: map of {n_items:,}, chunksize={chunksize}",
                    "us/item",
                    values,
                    kind="ratio" if target else "none",
                    target=target,
                )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
