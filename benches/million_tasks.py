"""Does memory stay flat over a million tasks, and what is left after shutdown?

One pool, a million tasks in batches, results taken and dropped.  Memory is the resident set of this
process and of its workers, and the pages of the shared heap, after the first 100,000 and at the
end.  After shutdown: descriptors, threads, child processes and pages of memory files that were not
there before.
"""

import os
import re
import time
from pathlib import Path

import _measure
from manyhands.futures import ProcessPoolExecutor

N_WORKERS = 2
KIB = 1024


def successor(number):
    """Do almost nothing."""
    return number + 1


def resident_mib(pid):
    """The private and file-backed resident memory of `pid`, without shared memory files."""
    status = Path(f"/proc/{pid}/status").read_text()
    kinds = {kind: int(kib) for kind, kib in re.findall(r"Rss(\w+):\s+(\d+) kB", status)}
    return (kinds["Anon"] + kinds["File"]) / KIB


def shared_pages_mib():
    """Pages of memory files (memfd, /dev/shm) that this process has mapped, in MiB."""
    total_kib, in_memory_file = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            in_memory_file = "/memfd:" in line or "/dev/shm/" in line
        elif in_memory_file and line.startswith("Rss:"):
            total_kib += int(line.split()[1])
    return total_kib / KIB


def n_entries(folder):
    return sum(1 for _ in Path(folder).iterdir())


def leftovers():
    """What a process can leave behind, counted."""
    me = os.getpid()
    parents = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat[1])
    family, grown = {me}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return {
        "descriptors": n_entries("/proc/self/fd"),
        "threads": n_entries("/proc/self/task"),
        "processes": len(family) - 1,
        "/dev/shm entries": n_entries("/dev/shm"),
        "MiB of memory files": shared_pages_mib(),
    }


def memory(executor):
    """MiB of this process, of its workers together, and of the shared heap."""
    workers = sum(resident_mib(pid) for pid in list(executor._processes))
    return resident_mib(os.getpid()), workers, shared_pages_mib()


def rows(quick):
    n_tasks = 20_000 if quick else 1_000_000
    first, batch = n_tasks // 10, n_tasks // 100
    before = leftovers()
    early = late = (0.0, 0.0, 0.0)
    with ProcessPoolExecutor(N_WORKERS) as executor:

        def run():
            nonlocal early
            for start in range(0, n_tasks, batch):
                if start == first:
                    early = memory(executor)
                futures = [executor.submit(successor, n) for n in range(start, start + batch)]
                for future in futures:
                    future.result()

        elapsed = _measure.seconds(run)
        late = memory(executor)
    # The template process stays a second for the next pool, and its supervisor with it.
    time.sleep(1.5)
    after = leftovers()
    yield _measure.Row(f"{n_tasks:,} tasks, each", "us", {"ours": elapsed / n_tasks * 1e6})
    for name, a, b in zip(
        ("this process", "the workers together", "the shared heap"), early, late, strict=True
    ):
        yield _measure.Row(
            f"growth after the first tenth: {name}",
            "MiB",
            {"ours": b - a},
            kind="at most",
            target=2,
            note=f"{a:.1f} MiB after the first {first:,}, {b:.1f} MiB at the end",
        )
    for name, count in after.items():
        yield _measure.Row(
            f"left 1.5 s after shutdown: {name}",
            "more than before",
            {"ours": float(count - before[name])},
            kind="at most",
            target=0,
        )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
