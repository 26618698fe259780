"""What does one task cost when many are submitted at once to a pool of threads?

20,000 tasks that do nothing are submitted to two workers, then all results are taken.
"""

import concurrent.futures as standard

import _measure
from manyhands import futures as ours

N_WORKERS = 2


def nothing():
    """Do nothing."""


def burst(executor, n_tasks):
    """Microseconds per task of one burst."""

    def work():
        for future in [executor.submit(nothing) for _ in range(n_tasks)]:
            future.result()

    return _measure.seconds(work) / n_tasks * 1e6


def rows(quick):
    n_tasks = 1_000 if quick else 20_000
    with (
        ours.ThreadPoolExecutor(N_WORKERS) as own,
        standard.ThreadPoolExecutor(N_WORKERS) as theirs,
    ):
        values = _measure.interleave(
            {"ours": lambda: burst(own, n_tasks), "standard": lambda: burst(theirs, n_tasks)},
            2 if quick else 15,
        )
    yield _measure.Row(
        f"threads: submit {n_tasks:,}, then all results", "us/task", values, kind="ratio", target=12
    )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
