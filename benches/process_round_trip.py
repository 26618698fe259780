"""How long does one task take there and back, through a pool of processes?

One task at a time: submit, wait for its result, submit the next.  The standard pool uses "fork".
"""

import concurrent.futures as standard
import multiprocessing

import _measure
from manyhands import futures as ours

N_WORKERS = 2


def nothing():
    """Do nothing."""


def round_trips(submit, n_tasks):
    """Microseconds for one task, submitted and waited for one after the other."""

    def work():
        for _ in range(n_tasks):
            submit(nothing).result()

    return _measure.seconds(work) / n_tasks * 1e6


def rows(quick):
    n_tasks = 200 if quick else 2_000
    fork = multiprocessing.get_context("fork")
    with standard.ProcessPoolExecutor(N_WORKERS, mp_context=fork) as theirs:
        # The one that forks comes first, while this process has no other threads.
        list(theirs.map(abs, range(100)))
        with ours.ProcessPoolExecutor(N_WORKERS) as own:
            lanes = {
                "ours": lambda: round_trips(own.submit, n_tasks),
                "standard": lambda: round_trips(theirs.submit, n_tasks),
            }
            if loky := _measure.optional("loky"):
                peer = loky.get_reusable_executor(N_WORKERS)
                lanes["loky"] = lambda: round_trips(peer.submit, n_tasks)
            values = _measure.interleave(lanes, 1 if quick else 7)
            if loky:
                peer.shutdown()
    yield _measure.Row(
        "processes: submit -> result, one at a time", "us", values, kind="ratio", target=8
    )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
