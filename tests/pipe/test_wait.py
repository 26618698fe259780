"""The descriptor of a connection, and waiting for many things at once."""

import asyncio
import multiprocessing
import os
import select
import selectors
import socket
import threading
import time

import pytest


def readable(fd, timeout=0):
    return bool(select.select([fd], [], [], timeout)[0])


def test_the_descriptor_is_readable_exactly_while_there_is_something(module):
    here, there = module.Pipe()
    fd = here.fileno()
    assert here.fileno() == fd
    for _ in range(50):
        assert not readable(fd)
        there.send(1)
        there.send(2)
        assert readable(fd, 60)
        here.recv()
        assert readable(fd, 60)
        here.recv_bytes()
        assert not readable(fd)
    there.close()
    assert readable(fd, 60)
    with pytest.raises(EOFError):
        here.recv()
    assert readable(fd)


def test_a_descriptor_asked_for_late_knows_what_is_there(module):
    here, there = module.Pipe()
    there.send(1)
    assert readable(here.fileno(), 60)


def test_the_descriptor_is_cleared_by_whoever_receives(connection, fork):
    reader, writer = connection.Pipe(duplex=False)
    fd = reader.fileno()
    writer.send(1)
    assert readable(fd, 60)
    assert fork.reap(fork(reader.recv)) == 0
    while readable(fd):
        pass
    writer.send(2)
    assert readable(fd, 60)
    assert reader.recv() == 2


def test_a_forked_child_has_a_descriptor_of_its_own(module, fork):
    reader, writer = module.Pipe(duplex=False)
    fd = reader.fileno()
    done_reader, done = module.Pipe(duplex=False)

    def look():
        assert reader.fileno() == fd
        assert not readable(fd)
        done.send("looked")
        assert readable(fd, 60)
        assert reader.recv() == "for the child"
        assert not readable(fd)

    pid = fork(look)
    assert done_reader.recv() == "looked"
    writer.send("for the child")
    assert fork.reap(pid) == 0
    while readable(fd):
        pass


def test_the_descriptor_is_closed_with_the_connection(module):
    here, _there = module.Pipe()
    fd = here.fileno()
    here.close()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_closing_a_watched_connection_is_seen_at_once(connection):
    here, there = connection.Pipe()
    for _ in range(20):
        here, there = connection.Pipe()
        there.fileno()
        there.close()
        assert here.poll()


def test_selectors_and_asyncio_take_connections(module):
    here, there = module.Pipe()
    with selectors.DefaultSelector() as selector:
        selector.register(here, selectors.EVENT_READ)
        assert selector.select(0) == []
        there.send("selected")
        assert selector.select(60)[0][0].fileobj is here
        assert here.recv() == "selected"
        assert selector.select(0) == []

    async def receive():
        loop = asyncio.get_running_loop()
        got = loop.create_future()

        def on_readable():
            loop.remove_reader(here.fileno())
            got.set_result(here.recv())

        loop.add_reader(here.fileno(), on_readable)
        loop.call_later(0.01, there.send, "in a loop")
        return await asyncio.wait_for(got, 60)

    assert asyncio.run(receive()) == "in a loop"


def test_wait_returns_what_is_ready(module):
    pairs = [module.Pipe() for _ in range(4)]
    readers = [pair[0] for pair in pairs]
    assert module.wait(readers, 0) == []
    assert module.wait(readers, -1) == []
    assert module.wait([], 0) == []
    pairs[1][1].send(1)
    pairs[3][1].close()
    assert set(module.wait(readers, 60)) >= {readers[1]}
    ready = set()
    while ready != {readers[1], readers[3]}:
        ready = set(module.wait(readers))
    assert readers[1].recv() == 1
    assert module.wait(readers, 60) == [readers[3]]


def test_wait_takes_connections_sockets_and_sentinels_mixed(connection):
    here, there = connection.Pipe()
    standard_here, standard_there = multiprocessing.Pipe()
    a, b = socket.socketpair()
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.05,))
    process.start()
    everything = [here, standard_here, a, process.sentinel]
    try:
        assert connection.wait(everything, 0) == []
        there.send(1)
        assert connection.wait(everything, 60)[0] is here
        standard_there.send(1)
        b.send(b"x")
        assert set(connection.wait(everything, 60)) >= {here, standard_here, a}
        here.recv(), standard_here.recv(), a.recv(1)
        assert connection.wait(everything, 60) == [process.sentinel]
    finally:
        process.join()
        a.close()
        b.close()


def test_wait_in_a_thread_is_woken_by_another(module, start):
    pairs = [module.Pipe() for _ in range(3)]
    for reader, writer in pairs:
        waiting = start(module.wait, [pair[0] for pair in pairs])
        writer.send("woken")
        assert waiting.result() == [reader]
        assert reader.recv() == "woken"


def test_a_wait_for_many_processes_sees_each_of_them_end(module, fork):
    readers = []

    def work(n, writer):
        for _ in range(10):
            writer.send(n)

    for n in range(4):
        reader, writer = module.Pipe(duplex=False)
        readers.append(reader)
        fork(work, n, writer)
        writer.close()
    got = []
    while readers:
        for reader in module.wait(readers, 60):
            try:
                got.append(reader.recv())
            except EOFError:
                readers.remove(reader)
    assert sorted(got) == sorted(list(range(4)) * 10)


def test_descriptors_and_threads_are_given_back(connection):
    before = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    n_threads = threading.active_count()
    for _ in range(30):
        here, there = connection.Pipe()
        here.fileno(), there.fileno()
        here.close(), there.close()
    assert threading.active_count() == n_threads
    after = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    assert after <= (before[0] + 2, before[1])
