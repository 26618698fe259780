"""What does it cost to send large things to a process and back?

1 MiB of bytes and NumPy arrays of 8 and 64 MiB, as an argument (summed there) and as a result; one
at a time, two workers, the standard pool with "fork".  Without NumPy only the bytes are measured.
"""

import concurrent.futures as standard
import multiprocessing

import _measure
from manyhands import futures as ours

N_WORKERS = 2
MIB = 1 << 20


def length(payload):
    return len(payload)


def make(n_bytes):
    return bytes(n_bytes)


def total(array):
    return float(array.sum())


def make_array(n_mib):
    import numpy as np

    return np.ones(n_mib * MIB // 8)


def milliseconds(executor, task, argument, n_times):
    """Milliseconds of one task with its payload, one at a time."""

    def work():
        for _ in range(n_times):
            executor.submit(task, argument).result()

    return _measure.seconds(work) / n_times * 1e3


def payloads(quick):
    yield "1 MiB of bytes as argument", length, bytes(MIB), 50
    yield "1 MiB of bytes as result", make, MIB, 50
    if numpy := _measure.optional("numpy"):
        for n_mib in (8,) if quick else (8, 64):
            yield f"{n_mib} MiB array as argument", total, numpy.ones(n_mib * MIB // 8), 3
            yield f"{n_mib} MiB array as result", make_array, n_mib, 3


def rows(quick):
    fork = multiprocessing.get_context("fork")
    with standard.ProcessPoolExecutor(N_WORKERS, mp_context=fork) as theirs:
        # The one that forks comes first, while this process has no other threads.
        list(theirs.map(abs, range(100)))
        with ours.ProcessPoolExecutor(N_WORKERS) as own:
            for name, task, argument, n_times in payloads(quick):
                lanes = {
                    lane: lambda e=executor, t=task, a=argument, n=n_times: milliseconds(e, t, a, n)
                    for lane, executor in (("ours", own), ("standard", theirs))
                }
                yield _measure.Row(name, "ms", _measure.interleave(lanes, 1 if quick else 5))


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
