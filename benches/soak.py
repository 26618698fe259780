"""Does anything grow, stay behind or get stuck when everything is used for a long time?

Every kind of process and shared object is used in rotation while children are killed at random;
memory of this process, bytes claimed in the family heap, children and entries of /dev/shm are
looked at after each round. Not part of `run.py`: it takes as long as it is told.

    python benches/soak.py [--seconds 600] [--seed 1]

Exits with 1 if something was left behind, or if the second half of the run claimed noticeably more
memory than the first.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import random
import signal
import statistics
import sys
import threading
import time

from manyhands import WorkerCrashed, _runtime
from manyhands import multiprocessing as mp
from manyhands.multiprocessing.pool import ThreadPool

#: Beyond this, growth from the first to the second half of the run counts as a leak, in bytes.
GROWTH_ALLOWED = 24 << 20
#: How long whoever was ended may take to be gone, in seconds.
SETTLING_S = 10.0


def square(number):
    """A task."""
    return number * number


def nap(seconds):
    """A task that is likely to be killed."""
    time.sleep(seconds)
    return seconds


def put_items(queue, n_items):
    """A producer."""
    for number in range(n_items):
        queue.put((number, b"x" * (number % 3000)))


def add_up(value, lock, n_times):
    """A child that shares a value."""
    for _ in range(n_times):
        with lock:
            value.value += 1


def echo(connection):
    """A child at the other end of a pipe."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(connection.recv())


def fill(mapping, name):
    """A child that fills a managed dict."""
    for number in range(50):
        mapping[name, number] = [number] * 10


def with_pool(chance):
    """A pool whose workers die now and then."""
    n_crashed = 0
    with mp.Pool(2, maxtasksperchild=50) as pool:
        results = [pool.apply_async(nap, (0.002,)) for _ in range(20)]
        for worker in chance.sample(pool._pool, 1):
            worker.kill()
        for result in results:
            try:
                result.get(60)
            except WorkerCrashed:
                n_crashed += 1
        assert pool.map(square, range(500)) == [n * n for n in range(500)]
        payload = bytes(1 << 20)
        assert sum(map(len, pool.imap_unordered(bytes, [payload] * 8))) == 8 << 20
        pool.close()
        pool.join()
    assert n_crashed <= 1


def with_threads(_chance):
    """A pool of threads."""
    with ThreadPool(3) as pool:
        assert sum(pool.imap(square, range(200), 7)) == sum(n * n for n in range(200))
        pool.close()
        pool.join()


def with_queue(chance):
    """A producer that may be killed in the middle; what is in the queue stays whole."""
    queue = mp.Queue()
    process = mp.Process(target=put_items, args=(queue, 400))
    process.start()
    is_killed = chance.random() < 0.5
    if is_killed:
        time.sleep(chance.random() * 0.01)
        process.kill()
    process.join()
    n_items = 0
    while not queue.empty():
        number, payload = queue.get(timeout=60)
        assert len(payload) == number % 3000
        n_items += 1
    assert n_items == 400 or is_killed
    queue.close()


def with_value(chance):
    """Children that add to one value under one lock, one of them killed."""
    value, lock = mp.Value("l", 0, lock=False), mp.Lock()
    processes = [mp.Process(target=add_up, args=(value, lock, 300)) for _ in range(3)]
    for process in processes:
        process.start()
    victim = chance.choice(processes)
    is_killed = chance.random() < 0.3
    if is_killed:
        victim.kill()
    for process in processes:
        process.join()
    assert (600 <= value.value <= 900) if is_killed else value.value == 900, value.value


def with_pipe(chance):
    """A round trip, then the death of the other end."""
    ours, theirs = mp.Pipe()
    process = mp.Process(target=echo, args=(theirs,))
    process.start()
    theirs.close()
    for size in (10, 3000, 200_000):
        ours.send(bytes(size))
        assert len(ours.recv()) == size
    if chance.random() < 0.5:
        process.kill()
    ours.close()
    process.join()


def with_array(_chance):
    """A large array that comes and goes."""
    array = mp.Array("d", 100_000)
    array[5] = 2.5
    process = mp.Process(target=len, args=(array,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert array[5] == 2.5


def with_manager(chance):
    """A managed dict, filled by two children, one of them killed."""
    with mp.Manager() as manager:
        mapping = manager.dict()
        processes = [mp.Process(target=fill, args=(mapping, name)) for name in "ab"]
        for process in processes:
            process.start()
        is_killed = chance.random() < 0.3
        if is_killed:
            processes[0].kill()
        for process in processes:
            process.join()
        assert len(mapping) == 100 or is_killed


def with_fork(_chance):
    """A child that is a copy of this process."""
    process = mp.get_context("fork").Process(target=square, args=(3,))
    process.start()
    process.join()
    assert process.exitcode == 0


ROTATION = (
    with_pool,
    with_threads,
    with_queue,
    with_value,
    with_pipe,
    with_array,
    with_manager,
    with_fork,
)


def resident_bytes():
    """What this process has in memory of its own."""
    fields = pathlib.Path("/proc/self/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def children():
    """Children of this process, by what they call themselves."""
    found = []
    for task in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for pid in (task / "children").read_text().split():
                name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
                if name != "mh-template":
                    found.append(f"{pid} {name}")
    return found


def left_behind(before):
    """What is there that was not there before, once it has had the time to go."""
    deadline = time.monotonic() + SETTLING_S
    while time.monotonic() < deadline:
        now = children() + [entry.name for entry in os.scandir("/dev/shm")]
        left = [each for each in now if each not in before]
        if not left:
            return []
        time.sleep(0.05)
    return left


def run(seconds, seed):
    """Use everything for so long; give what was measured after each round."""
    chance = random.Random(seed)
    samples, counts, failures = [], collections.Counter(), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for use in ROTATION:
            try:
                use(chance)
            except Exception as error:
                failures.append(f"{use.__name__}: {error!r}")
            counts[use.__name__] += 1
        samples.append((resident_bytes(), _runtime.heap_usage()[0], threading.active_count()))
        if len(samples) % 20 == 0:
            rss, claimed, n_threads = samples[-1]
            print(
                f"round {len(samples)}: resident {rss >> 10} KiB, claimed {claimed >> 10} KiB, "
                f"{n_threads} threads, {len(failures)} failures",
                flush=True,
            )
    return samples, counts, failures


def grown(samples, idx):
    """How much higher the median of the last quarter is than that of the second."""
    quarter = max(1, len(samples) // 4)
    second = statistics.median(sample[idx] for sample in samples[quarter : 2 * quarter])
    last = statistics.median(sample[idx] for sample in samples[-quarter:])
    return last - second


def main():
    """Print the figures; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [entry.name for entry in os.scandir("/dev/shm")]
    samples, counts, failures = run(options.seconds, options.seed)
    left = left_behind(before)
    rss_growth, heap_growth = grown(samples, 0), grown(samples, 1)
    print(f"{len(samples)} rounds of {len(counts)} uses, seed {options.seed}")
    print(f"growth of resident memory: {rss_growth / 1024:.0f} KiB")
    print(f"growth of the heap: {heap_growth / 1024:.0f} KiB")
    print(f"left behind: {left or 'nothing'}")
    for failure, n_times in collections.Counter(failures).most_common():
        print(f"failed {n_times} times: {failure}")
    return int(bool(left or failures or max(rss_growth, heap_growth) > GROWTH_ALLOWED))


if __name__ == "__main__":
    sys.exit(main())
