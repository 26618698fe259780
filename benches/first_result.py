"""How long until a new pool of processes gives its first result?

Cold: a fresh interpreter has imported what it needs and makes its first pool; the time runs from
the constructor to the first result.  Warm: the same for the next pool of that interpreter, when the
template of ours (the forkserver of the standard library) is already there.
"""

import _measure

PROGRAM = """
import multiprocessing, sys, time

def in_main(number):
    return number

def first_result():
    started = time.perf_counter()
    executor = make()
    executor.submit(task, 1).result()
    elapsed = time.perf_counter() - started
    executor.shutdown()
    return elapsed

whose, warmth = sys.argv[1:]
task = in_main if whose == "ours, function of __main__" else abs
if whose.startswith("ours"):
    from manyhands.futures import ProcessPoolExecutor
    make = lambda: ProcessPoolExecutor(2)
else:
    from concurrent.futures import ProcessPoolExecutor
    context = multiprocessing.get_context(whose.split()[-1])
    make = lambda: ProcessPoolExecutor(2, mp_context=context)
elapsed = first_result()
if warmth == "warm":
    elapsed = sorted(first_result() for _ in range(9))[4]
print(elapsed * 1e3)
"""

# The task is a builtin, which every start method can send. A function that lives in __main__ has
# to be sent by value; the standard library cannot do that with code that has no file.
LANES = [
    "ours",
    "ours, function of __main__",
    "standard forkserver",
    "standard spawn",
    "standard fork",
]


def rows(quick):
    n_repeats = 1 if quick else 9
    for warmth in ("warm", "cold"):
        values = _measure.interleave(
            {
                lane: lambda lane=lane, w=warmth: _measure.in_fresh_interpreter(PROGRAM, lane, w)
                for lane in LANES
            },
            n_repeats,
        )
        if warmth == "warm":
            yield _measure.Row(
                "first result of a new pool, warm", "ms", values, kind="at most", target=10
            )
        else:
            yield _measure.Row(
                "first result of a new pool, cold",
                "ms",
                values,
                against=("standard forkserver",),
                kind="ratio",
                target=1,
            )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
