"""How long does one task take there and back, through a pool of threads?

One task at a time: submit, wait for its result, submit the next.
"""

import concurrent.futures as standard

import _measure
from manyhands import futures as ours

N_WORKERS = 2


def nothing():
    """Do nothing."""


def round_trips(executor, n_tasks):
    """Microseconds for one task, submitted and waited for one after the other."""

    def work():
        for _ in range(n_tasks):
            executor.submit(nothing).result()

    return _measure.seconds(work) / n_tasks * 1e6


def rows(quick):
    n_tasks = 500 if quick else 10_000
    with (
        ours.ThreadPoolExecutor(N_WORKERS) as own,
        standard.ThreadPoolExecutor(N_WORKERS) as theirs,
    ):
        values = _measure.interleave(
            {
                "ours": lambda: round_trips(own, n_tasks),
                "standard": lambda: round_trips(theirs, n_tasks),
            },
            2 if quick else 11,
        )
    yield _measure.Row(
        "threads: submit -> result, one at a time", "us", values, kind="ratio", target=1.3
    )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
