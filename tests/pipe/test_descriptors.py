"""What programs do with the descriptor of a duplex connection besides waiting: send descriptors."""

import os
import select
import signal
import threading
from multiprocessing import reduction

import pytest


def pipe_with_text(text):
    reader, writer = os.pipe()
    os.write(writer, text)
    os.close(writer)
    return reader


@pytest.mark.parametrize("sender_asks_first", [True, False])
def test_a_descriptor_travels_between_processes(module, fork, sender_asks_first):
    here, there = module.Pipe()

    def receive():
        here.close()
        if not sender_asks_first:
            there.fileno()
            there.send("asked")
        there.recv()
        fd = reduction.recv_handle(there)
        there.send(os.read(fd, 100))
        os.close(fd)

    pid = fork(receive)
    there.close()
    if sender_asks_first:
        here.fileno()
    else:
        assert here.recv() == "asked"
    here.send("a descriptor follows")
    fd = pipe_with_text(b"through another process")
    reduction.send_handle(here, fd, pid)
    os.close(fd)
    assert here.recv() == b"through another process"


def test_a_byte_without_a_descriptor_is_an_error(module, fork):
    here, there = module.Pipe()
    # A process that ends by itself waits until the other one has the socket; this one does not.
    here.fileno()
    fork(lambda: os.write(there.fileno(), b"\0"))
    with pytest.raises(RuntimeError):
        reduction.recv_handle(here)


def test_other_threads_run_while_a_stopped_process_is_asked_for_the_sockets(connection, fork):
    here, there = connection.Pipe()

    def keep_the_door():
        there.fileno()
        there.send("asked")
        assert there.recv() == "write"
        os.write(there.fileno(), b"x")

    pid = fork(keep_the_door)
    assert here.recv() == "asked"
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    begun = threading.Event()
    asking = threading.Thread(target=lambda: (begun.set(), here.fileno()))
    asking.start()
    begun.wait()
    # If this thread stood still until the question is given up, there would be another pair.
    os.kill(pid, signal.SIGCONT)
    asking.join()
    here.send("write")
    assert select.select([here], [], [], 20)[0], "the sockets are not those of the other process"
    assert os.read(here.fileno(), 1) == b"x"


def test_the_sockets_are_made_anew_if_their_maker_was_killed(connection, fork):
    here, there = connection.Pipe()

    def ask():
        there.fileno()
        there.send("asked")
        there.recv()

    pid = fork(ask)
    assert here.recv() == "asked"
    fork.kill(pid)
    fd = pipe_with_text(b"later")
    reduction.send_handle(here, fd, os.getpid())
    os.close(fd)
    received = reduction.recv_handle(there)
    assert os.read(received, 100) == b"later"
    os.close(received)


def test_messages_and_descriptors_do_not_disturb_each_other(module):
    here, there = module.Pipe()
    here.fileno(), there.fileno()
    for n in range(50):
        here.send(n)
        assert there.recv() == n
        fd = pipe_with_text(b"%d" % n)
        reduction.send_handle(here, fd, os.getpid())
        os.close(fd)
        received = reduction.recv_handle(there)
        assert os.read(received, 100) == b"%d" % n
        os.close(received)


@pytest.mark.parametrize("sender_asks_first", [True, False])
def test_a_program_may_use_up_the_numbers_that_were_free(connection, fork, sender_asks_first):
    here, there = connection.Pipe()

    def receive():
        # What the first question for the descriptor opens must not lie where it would fall victim.
        for number in range(256):
            if not os.path.exists(f"/proc/self/fd/{number}"):
                os.dup2(there.fileno(), number)
        there.send("done")
        os.write(reduction.recv_handle(there), b"through a crowd")

    if sender_asks_first:
        here.fileno()
    pid = fork(receive)
    assert here.recv() == "done"
    reader, writer = os.pipe()
    reduction.send_handle(here, writer, pid)
    os.close(writer)
    assert os.read(reader, 100) == b"through a crowd"
    os.close(reader)
