"""How fast are shared values?

One process, nobody in its way; the cost of the loop around is part of every figure.  The standard
library has no atomic operation: its counterpart is ``+= 1`` with the lock held.

Beside that statement stands what the interpreter takes for its parts alone: a ``with`` on an
object in C whose `__enter__` and `__exit__` do nothing (a closed `os.scandir`), and ``+= 1`` on an
attribute in C (of a ctypes number).
"""

import ctypes
import functools
import multiprocessing as standard
import os
import timeit

import _measure
from manyhands import multiprocessing as ours

# Statement after statement in one round of the loop: its cost counts for little.
N_UNROLLED = 10
LOCKED = "with it.get_lock(): it.value += 1"
BARE = "with nothing: it.value += 1"
# name, what is made, ours, standard, target (0: none)
CASES = (
    ("Value: += 1 with its lock", "Value('q', 0)", LOCKED, LOCKED, 5),
    ("Value: add(1), beside += with the lock", "Value('q', 0)", "it.add(1)", LOCKED, 10),
    ("Value: read", "Value('q', 0)", "it.value", "it.value", 0),
    ("Value: write", "Value('q', 0)", "it.value = 1", "it.value = 1", 0),
    ("Array: read an element", "Array('d', 100)", "it[7]", "it[7]", 0),
    ("Array: write an element", "Array('d', 100)", "it[7] = 1.0", "it[7] = 1.0", 0),
    ("Array: read 100 elements", "Array('d', 100)", "it[:]", "it[:]", 0),
    ("RawValue: += 1", "RawValue('q', 0)", "it.value += 1", "it.value += 1", 0),
)
N_REPEATS = 11


def statement(module, make, code, n_times):
    """Nanoseconds for one statement."""
    it = eval(f"module.{make}", {"module": module})
    timer = timeit.Timer("\n".join([code] * N_UNROLLED), globals={"it": it})
    return timer.timeit(n_times // N_UNROLLED) / n_times * 1e9


def bare(n_times):
    """Nanoseconds for `BARE`: no lock, no shared memory."""
    with os.scandir() as nothing:
        nothing.close()
    names = {"it": ctypes.c_longlong(0), "nothing": nothing}
    timer = timeit.Timer("\n".join([BARE] * N_UNROLLED), globals=names)
    return timer.timeit(n_times // N_UNROLLED) / n_times * 1e9


def making(module, make, n_times):
    """Microseconds to make one and let it go."""
    timer = timeit.Timer(f"module.{make}", globals={"module": module})
    return timer.timeit(n_times) / n_times * 1e6


def watched(mode, n_times):
    """Nanoseconds for ``+= 1`` with the lock held, with and without the detector."""
    ours.set_lost_update_mode(mode)
    try:
        return statement(ours, "Value('q', 0)", LOCKED, n_times)
    finally:
        ours.set_lost_update_mode("off")


def rows(quick):
    n_times, n_repeats = (2_000, 2) if quick else (100_000, N_REPEATS)
    for name, make, our_code, standard_code, target in CASES:
        lanes = {
            "ours": functools.partial(statement, ours, make, our_code, n_times),
            "standard": functools.partial(statement, standard, make, standard_code, n_times),
        }
        if our_code == LOCKED:
            lanes["the interpreter alone"] = functools.partial(bare, n_times)
        values = _measure.interleave(lanes, n_repeats)
        kind = "ratio" if target else "none"
        yield _measure.Row(name, "ns", values, kind=kind, target=target)
    for name, make in (("make a Value", "Value('i', 0)"), ("make an Array", "Array('d', 1000)")):
        lanes = {
            "ours": functools.partial(making, ours, make, n_times // 100),
            "standard": functools.partial(making, standard, make, n_times // 100),
        }
        yield _measure.Row(name, "us", _measure.interleave(lanes, n_repeats))
    lanes = {
        "ours": functools.partial(watched, "off", n_times),
        "reporting": functools.partial(watched, "report", n_times // 10),
    }
    name = "Value: += 1 with its lock, lost updates not looked for"
    yield _measure.Row(name, "ns", _measure.interleave(lanes, n_repeats))


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
