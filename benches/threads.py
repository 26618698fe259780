"""What does it cost to start a thread, and to wait for its end?

Ours records the outcome, can be cancelled and watches for deadlocks while it is joined.
"""

import threading as standard

import _measure
from manyhands import threading as ours


def nothing():
    """Do nothing."""


def one_after_the_other(thread_class, n_threads):
    """Microseconds to start and join one thread, again and again."""

    def work():
        for _ in range(n_threads):
            thread = thread_class(target=nothing)
            thread.start()
            thread.join()

    return _measure.seconds(work) / n_threads * 1e6


def all_at_once(thread_class, n_threads):
    """Microseconds per thread to start many that wait for one event, and to join them all."""

    def work():
        gate = standard.Event()
        threads = [thread_class(target=gate.wait) for _ in range(n_threads)]
        for thread in threads:
            thread.start()
        gate.set()
        for thread in threads:
            thread.join()

    return _measure.seconds(work) / n_threads * 1e6


def rows(quick):
    n_repeats = 2 if quick else 11
    for name, measure, n_threads in (
        ("one after the other", one_after_the_other, 100 if quick else 2000),
        ("200 at once", all_at_once, 20 if quick else 200),
    ):
        values = _measure.interleave(
            {
                "ours": lambda measure=measure, n=n_threads: measure(ours.Thread, n),
                "standard": lambda measure=measure, n=n_threads: measure(standard.Thread, n),
            },
            n_repeats,
        )
        yield _measure.Row(f"threads: start and join, {name}", "us", values)


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
