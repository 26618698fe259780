"""How soon does the pool notice a death, replace the worker, stop a task, honour a timeout?

Each time runs from the event (the kill, the call of cancel, the end of the timeout) to the moment
the program sees its effect.  The standard pool can do none of these: a death breaks it, and a
running task cannot be stopped.
"""

import os
import signal
import statistics
import time

import _measure
from manyhands.futures import ProcessPoolExecutor

TIMEOUT_SECONDS = 0.05


def nap():
    """Run until somebody ends it."""
    time.sleep(1000)


def running_task(executor):
    """Start a task that does not end by itself; give its future and its worker's pid."""
    future = executor.submit(nap)
    while not future.running():
        time.sleep(0.0002)
    # The task is claimed; give it the moment it needs to get into its sleep.
    time.sleep(0.003)
    return future, future.statistics()["worker"]


def death_noticed(executor):
    """Milliseconds from SIGKILL to the WorkerCrashed that the waiter gets."""
    future, pid = running_task(executor)
    started = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    future.exception()
    return (time.perf_counter() - started) * 1e3


def replaced(executor):
    """Milliseconds from SIGKILL of the only worker to the result of a task sent after it."""
    _, pid = running_task(executor)
    started = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    executor.submit(os.getpid).result()
    return (time.perf_counter() - started) * 1e3


def cancel_takes_effect(executor):
    """Milliseconds from cancel(running=True) to the result of the next task on that worker."""
    future, _ = running_task(executor)
    started = time.perf_counter()
    future.cancel(running=True)
    executor.submit(os.getpid).result()
    return (time.perf_counter() - started) * 1e3


def timeout_raised(executor):
    """Milliseconds by which the TimeoutError of a task comes after its time is over."""
    limited = executor.options(timeout=TIMEOUT_SECONDS)
    future = limited.submit(nap)
    while not future.running():
        pass
    started = time.perf_counter()
    future.exception()
    return abs(time.perf_counter() - started - TIMEOUT_SECONDS) * 1e3


def timeout_frees_worker(executor):
    """Milliseconds from the end of a task's time to the result of the next task there."""
    future = executor.options(timeout=TIMEOUT_SECONDS).submit(nap)
    while not future.running():
        pass
    started = time.perf_counter()
    executor.submit(os.getpid).result()
    return (time.perf_counter() - started - TIMEOUT_SECONDS) * 1e3


MEASURES = {
    "death of a worker noticed": death_noticed,
    "worker replaced after a kill, next result": replaced,
    "cancel(running=True), next result": cancel_takes_effect,
    "timeout of a task raised (distance)": timeout_raised,
    "timeout of a task, next result": timeout_frees_worker,
}


def rows(quick):
    n_repeats = 3 if quick else 41
    for name, measure in MEASURES.items():
        with ProcessPoolExecutor(max_workers=1) as executor:
            executor.submit(os.getpid).result()
            measure(executor)
            times = [measure(executor) for _ in range(n_repeats)]
        worst = f"of {n_repeats}: worst {_measure.number(max(times))} ms"
        yield _measure.Row(
            name, "ms", {"ours": statistics.median(times)}, kind="at most", target=10, note=worst
        )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
