"""How fast do processes start and end?

One process that calls a built-in function: started and joined. In a program that has touched 500 MB
of memory, as one that has loaded its data; and in a small one.
"""

import multiprocessing as standard

import _measure
from manyhands import multiprocessing as ours

N_BYTES = 500 << 20


def start_and_join(context, n_processes):
    """Milliseconds for one process from before its start to after its end."""

    def work():
        for _ in range(n_processes):
            process = context.Process(target=abs, args=(-1,))
            process.start()
            process.join()

    return _measure.seconds(work) / n_processes * 1e3


def rows(quick):
    n_processes, n_repeats = (2, 1) if quick else (10, 7)
    # fork comes first, while this process has no other threads.
    standard_lanes = ("fork", "forkserver", "spawn")

    def measure():
        lanes = {"ours": lambda: start_and_join(ours.get_context("template"), n_processes)}
        for method in standard_lanes:
            context = standard.get_context(method)
            n = max(1, n_processes // 5) if method == "spawn" else n_processes
            lanes[f"standard {method}"] = lambda context=context, n=n: start_and_join(context, n)
        # One that has used the standard ones may be asked for the opposite: ours by fork.
        lanes["ours by fork"] = lambda: start_and_join(ours.get_context("fork"), n_processes)
        return _measure.interleave(lanes, n_repeats)

    def row(name, values, lane, target):
        chosen = {"ours": values["ours"], lane: values[lane]}
        return _measure.Row(name, "ms", chosen, against=(lane,), kind="ratio", target=target)

    values = measure()
    yield _measure.Row("start + join, small parent", "ms", values)
    ballast = bytearray(N_BYTES if not quick else N_BYTES // 10)
    ballast[::4096] = b"x" * len(range(0, len(ballast), 4096))
    values = measure()
    yield _measure.Row("start + join, parent of 500 MB", "ms", values)
    yield row("against fork, parent of 500 MB", values, "standard fork", 2)
    yield row("against spawn, parent of 500 MB", values, "standard spawn", 20)
    del ballast


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
