"""How fast are the pipes between processes?

Round trips of small objects, of bytes, of large messages; one way in bursts; making a pipe. The
bare futex round trip that the bytes are to be compared with is in `benches/rust/pipe.rs`.
"""

import multiprocessing.connection as standard
import os

import _measure
from manyhands.multiprocessing import connection as ours


def peer(work):
    """Fork a process that works and exits; return how to wait for it."""
    pid = os.fork()
    if pid:
        return lambda: os.waitpid(pid, 0)
    try:
        work()
    except (EOFError, OSError):
        pass
    finally:
        os._exit(0)


def round_trip(module, message, n_trips):
    """Microseconds for a message there and back."""
    here, there = module.Pipe()
    as_bytes = isinstance(message, bytes)

    def answer():
        here.close()
        while True:
            there.send_bytes(there.recv_bytes()) if as_bytes else there.send(there.recv())

    wait = peer(answer)
    there.close()
    send, receive = (here.send_bytes, here.recv_bytes) if as_bytes else (here.send, here.recv)

    def work():
        for _ in range(n_trips):
            send(message)
            receive()

    took = _measure.seconds(work)
    here.close()
    wait()
    return took / n_trips * 1e6


def one_way(module, n_messages):
    """Microseconds per small message from one process to another."""
    reader, writer = module.Pipe(duplex=False)

    def produce():
        for n in range(n_messages):
            writer.send(n)

    wait = peer(produce)

    def work():
        for _ in range(n_messages):
            reader.recv()

    took = _measure.seconds(work)
    wait()
    return took / n_messages * 1e6


def making(module, n_pipes):
    """Microseconds to make a pipe and drop it."""
    keep = module.Pipe()

    def work():
        for _ in range(n_pipes):
            module.Pipe()

    took = _measure.seconds(work)
    del keep
    return took / n_pipes * 1e6


def lanes(measure, *args):
    return {"ours": lambda: measure(ours, *args), "standard": lambda: measure(standard, *args)}


def rows(quick):
    n_trips, n_repeats = (200, 2) if quick else (5_000, 15)

    def row(name, measured, **target):
        return _measure.Row(name, "us", _measure.interleave(measured, n_repeats), **target)

    at_least = {"kind": "ratio"}
    yield row("round trip of an int", lanes(round_trip, 7, n_trips), target=3.0, **at_least)
    small = {"id": 7, "name": "widget", "tags": ["a", "b"]}
    yield row("round trip of a small dict", lanes(round_trip, small, n_trips))
    yield row("round trip of 16 bytes", lanes(round_trip, b"x" * 16, n_trips))
    yield row("one way, an int", lanes(one_way, 4 * n_trips))
    n_large = max(2, n_trips // 50)
    yield row("round trip of 1 MiB", lanes(round_trip, bytes(1 << 20), n_large))
    yield row("round trip of 64 MiB", lanes(round_trip, bytes(64 << 20), max(1, n_large // 50)))
    yield row("making a pipe", lanes(making, n_trips))


if __name__ == "__main__":
    _measure.main(__doc__.splitlines()[0], rows)
