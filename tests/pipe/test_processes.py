"""Connections between processes: forks, deaths, ends that travel, several users of one end."""

import collections
import gc
import os
import pickle
import signal
import socket
import threading
import time
from multiprocessing import resource_sharer

import pytest
from background import WHEN_ASLEEP


def test_a_forked_process_answers(module, fork):
    here, there = module.Pipe()

    def answer():
        here.close()
        while True:
            try:
                there.send(there.recv() * 2)
            except EOFError:
                return

    fork(answer)
    there.close()
    for n in range(300):
        here.send(n)
        assert here.recv() == 2 * n
    here.send("x" * 300_000)
    assert here.recv() == "x" * 600_000
    here.close()


def test_a_killed_process_is_the_end_of_file(module, fork):
    here, there = module.Pipe()

    def hold():
        here.close()
        there.send("here")
        time.sleep(600)

    pid = fork(hold)
    there.close()
    assert here.recv() == "here"
    fork.kill(pid)
    with pytest.raises(EOFError):
        here.recv()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        here.send(1)


def test_the_end_stays_open_while_any_process_has_it(module, fork):
    here, there = module.Pipe()
    go_reader, go = module.Pipe(False)

    def hold():
        here.close()
        go_reader.recv()
        there.send("still here")

    fork(hold)
    there.close()
    assert not here.poll(0.05)
    go.send(1)
    assert here.recv() == "still here"
    with pytest.raises(EOFError):
        here.recv()


def test_a_connection_travels_through_a_connection(module, fork):
    here, there = module.Pipe()

    def use():
        here.close()
        given = there.recv()
        given.send("through the one that was sent")
        reader = there.recv()
        there.send(reader.recv())

    pid = fork(use)
    there.close()
    reader, writer = module.Pipe(duplex=False)
    here.send(writer)
    assert reader.recv() == "through the one that was sent"
    second_reader, second_writer = module.Pipe(duplex=False)
    here.send(second_reader)
    second_writer.send("and back")
    assert here.recv() == "and back"
    assert fork.reap(pid) == 0
    # The standard module's way to send a connection has a thread.
    resource_sharer.stop()


def test_a_connection_on_its_way_stays_open(connection):
    here, there = connection.Pipe()
    reader, writer = connection.Pipe(duplex=False)
    here.send([writer])
    del writer
    gc.collect()
    assert not reader.poll()
    (writer,) = there.recv()
    writer.send("alive")
    assert reader.recv() == "alive"
    del writer
    with pytest.raises(EOFError):
        reader.recv()


def test_a_message_that_nobody_reads_gives_up_what_it_carries(connection):
    here, there = connection.Pipe()
    reader, writer = connection.Pipe(duplex=False)
    here.send(writer)
    del writer
    assert not reader.poll()
    del here, there
    with pytest.raises(EOFError):
        reader.recv()


def test_a_socket_and_a_standard_connection_travel(connection):
    import multiprocessing.connection as standard

    here, there = connection.Pipe()
    a, b = socket.socketpair()
    here.send(a)
    with there.recv() as copy:
        copy.sendall(b"bytes")
    assert b.recv(10) == b"bytes"
    a.close()
    b.close()
    first, second = standard.Pipe()
    here.send(first)
    with there.recv() as copy:
        copy.send("standard")
    assert second.recv() == "standard"
    resource_sharer.stop()


def test_a_pickle_opened_in_another_family_says_so(connection, program):
    here, _there = connection.Pipe()
    data = pickle.dumps(here)
    assert repr(pickle.loads(data)) == repr(here)
    ended = program(f"import pickle; pickle.loads({data!r})")
    assert ended.status != 0
    assert "another family of processes" in ended.err


def test_several_processes_share_both_ends_and_nothing_is_lost(connection, fork):
    reader, writer = connection.Pipe(duplex=False)
    results, reports = connection.Pipe(duplex=False)
    n_each, n_processes = 1000, 3

    def produce(who):
        for n in range(n_each):
            writer.send((who, n, "x" * (n % 1000)))

    def consume():
        writer.close()
        results.close()
        seen = []
        try:
            while True:
                who, n, padding = reader.recv()
                assert len(padding) == n % 1000
                seen.append((who, n))
        except EOFError:
            reports.send(seen)

    for who in range(n_processes):
        fork(produce, who)
        fork(consume)
    writer.close()
    reports.close()
    seen = collections.Counter()
    for _ in range(n_processes):
        seen.update(results.recv())
    assert len(seen) == n_processes * n_each
    assert set(seen.values()) == {1}


def test_threads_share_an_end(module, start):
    if module.__name__ == "multiprocessing.connection":
        pytest.skip("the standard class mixes the messages of two threads")
    reader, writer = module.Pipe(duplex=False)
    senders = [start(lambda: [writer.send(n) for n in range(2000)]) for _ in range(3)]
    receivers = [start(lambda: [reader.recv() for _ in range(2000)]) for _ in range(3)]
    seen = collections.Counter()
    for receiver in receivers:
        seen.update(receiver.result())
    for sender in senders:
        sender.result()
    assert seen == dict.fromkeys(range(2000), 3)


def test_a_sender_that_is_killed_in_a_large_message_costs_only_that(connection, fork):
    here, there = connection.Pipe()
    large = b"x" * 5_000_000

    def send_large():
        there.send_bytes(b"begins")
        there.send_bytes(large)

    for _ in range(5):
        pid = fork(send_large)
        assert here.recv_bytes() == b"begins"
        assert here.poll(60)
        fork.kill(pid)
        there.send_bytes(b"after")
        assert here.recv_bytes() == b"after"


def test_ctrl_c_ends_a_wait_and_the_connection_works_on(module, program):
    source = f"""{WHEN_ASLEEP}
import os, signal
from {module.__name__} import Pipe
a, b = Pipe()
def raiser(*args): raise KeyboardInterrupt
signal.signal(signal.SIGINT, raiser)
for wait in (a.recv, lambda: a.poll(None), lambda: a.recv_bytes_into(bytearray(9))):
    try:
        when_asleep(lambda: os.kill(os.getpid(), signal.SIGINT))
        wait()
    except KeyboardInterrupt:
        pass
    else:
        raise SystemExit("not interrupted")
b.send("on")
assert a.recv() == "on"
"""
    ended = program(source)
    assert (ended.status, ended.err) == (0, "")


def test_ctrl_c_in_a_large_message_loses_only_that(connection, program):
    ended = program(f"""{WHEN_ASLEEP}
import os, signal
from manyhands.multiprocessing.connection import Pipe
a, b = Pipe()
try:
    when_asleep(lambda: os.kill(os.getpid(), signal.SIGINT))
    a.send_bytes(bytes(10_000_000))
except KeyboardInterrupt:
    pass
assert not b.poll()
a.send("next")
assert b.recv() == "next"
""")
    assert (ended.status, ended.err) == (0, "")


def test_a_signal_handler_runs_and_the_wait_goes_on(module, fork):
    here, there = module.Pipe()
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    parent = os.getpid()

    def disturb():
        for _ in range(5):
            time.sleep(0.01)
            os.kill(parent, signal.SIGUSR1)
        there.send("done")

    try:
        fork(disturb)
        assert here.recv() == "done"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen


def test_a_connection_leaves_no_descriptor(connection):
    pairs = [connection.Pipe() for _ in range(5)]
    before, n_threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    more = [connection.Pipe(duplex) for duplex in (True, False) * 10]
    assert len(os.listdir("/proc/self/fd")) == before
    for one in [end for pair in more for end in pair]:
        one.fileno()
    del more, one
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert threading.active_count() == n_threads
    del pairs
