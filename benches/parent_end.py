"""How soon is nobody left of a program that was killed, whatever its processes do at that moment?

Each time runs from the moment at which the killed program can be reaped to the one at which no
process of it is listed any more.  The standard library's processes stay until they touch a pipe of
it, so there is nothing to compare with.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time
import uuid

import _measure

HEAD = """
import os, signal, time
from manyhands.futures import ProcessPoolExecutor
from manyhands.multiprocessing import Event, Process, parent_process

def fill(filled):
    memory = bytearray(1 << 30)
    for offset in range(0, len(memory), 4096):
        memory[offset] = 1
    filled.set()
    time.sleep(1000)

def ask(asked):
    parent_process().is_alive()
    asked.set()
    time.sleep(1000)

def nest(running):
    Process(target=ask, args=(running,)).start()
    time.sleep(1000)

def stay(target):
    reached = Event()
    Process(target=target, args=(reached,)).start()
    reached.wait()
"""

STATES = {
    "idle workers": "list((pool := ProcessPoolExecutor(4)).map(abs, range(100)))",
    "template that starts": "pool = ProcessPoolExecutor(4)\npool.submit(abs, 1)",
    "1 GiB resident": "stay(fill)",
    "a process of a process": "stay(nest)",
    "it asked after its parent": "stay(ask)",
}


def left(token):
    """Process ids that carry `token` in their environment."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and token in (folder / "environ").read_bytes():
                found.append(folder.name)
        except OSError:
            pass
    return found


def gone_after(program):
    """Milliseconds until nobody is left of a killed program."""
    token = uuid.uuid4().hex
    source = f"{HEAD}\n{program}\nprint('ready', flush=True)\ntime.sleep(1000)"
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        env={**os.environ, "MANYHANDS_BENCH": token},
    )
    with process.stdout:
        process.stdout.readline()
        process.kill()
        process.wait()
    started = time.perf_counter()
    while left(token.encode()):
        time.sleep(0.001)
    return (time.perf_counter() - started) * 1e3


def rows(quick):
    n_repeats = 2 if quick else 11
    for name, program in STATES.items():
        times = [gone_after(program) for _ in range(n_repeats)]
        worst = f"of {n_repeats}: worst {_measure.number(max(times))} ms"
        yield _measure.Row(
            name, "ms", {"ours": statistics.median(times)}, kind="at most", target=500, note=worst
        )


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
