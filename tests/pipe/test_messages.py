"""What connections send and receive, and what they refuse; over the standard module too."""

import array
import multiprocessing
import pickle

import pytest


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**70),
        2.5,
        "",
        "é" * 3000,
        b"",
        b"x" * 199,
        b"y" * 40_000,
        [1, [2, {"three": (4,)}]],
        set("abc"),
        range(3),
    ],
    ids=lambda value: f"{type(value).__name__}-{len(repr(value))}",
)
def test_an_object_arrives_equal_and_of_its_class(module, value):
    here, there = module.Pipe()
    here.send(value)
    got = there.recv()
    assert (got, type(got)) == (value, type(value))


def test_both_ends_of_a_duplex_pipe_send_and_receive(module):
    here, there = module.Pipe()
    here.send("ping")
    assert there.recv() == "ping"
    there.send("pong")
    assert here.recv() == "pong"
    assert here.readable and here.writable


def test_the_ends_of_a_one_way_pipe_refuse_the_other_way(module):
    reader, writer = module.Pipe(duplex=False)
    writer.send(1)
    assert reader.recv() == 1
    assert (reader.readable, reader.writable) == (True, False)
    assert (writer.readable, writer.writable) == (False, True)
    for refused in (lambda: reader.send(1), lambda: reader.send_bytes(b"")):
        with pytest.raises(OSError, match="read-only"):
            refused()
    for refused in (writer.recv, writer.recv_bytes, writer.poll):
        with pytest.raises(OSError, match="write-only"):
            refused()


def test_bytes_and_objects_can_be_received_as_each_other(module):
    here, there = module.Pipe()
    for value in (5, [1, 2], b"z" * 5000, "text"):
        here.send_bytes(pickle.dumps(value))
        assert there.recv() == value
        here.send(value)
        assert pickle.loads(there.recv_bytes()) == value


def test_send_bytes_takes_any_buffer_and_a_part_of_it(module):
    here, there = module.Pipe()
    letters = b"abcdefghij"
    for buffer in (letters, bytearray(letters), memoryview(letters)):
        here.send_bytes(buffer)
        assert there.recv_bytes() == letters
        here.send_bytes(buffer, 3)
        assert there.recv_bytes() == letters[3:]
        here.send_bytes(buffer, 3, 4)
        assert there.recv_bytes() == letters[3:7]
        here.send_bytes(buffer, 10)
        assert there.recv_bytes() == b""
    numbers = array.array("i", [1, 2, 3])
    here.send_bytes(numbers)
    assert there.recv_bytes() == numbers.tobytes()
    for offset, size in [(11, None), (-1, None), (4, -1), (8, 3), (10, 1)]:
        with pytest.raises(ValueError):
            here.send_bytes(letters, offset, size)
    with pytest.raises(TypeError):
        here.send_bytes("text")


def test_recv_bytes_into_fills_a_buffer_from_an_offset(module):
    here, there = module.Pipe()
    room = bytearray(b"." * 10)
    here.send_bytes(b"abc")
    assert (there.recv_bytes_into(room), room) == (3, b"abc.......")
    here.send_bytes(b"xyz")
    assert (there.recv_bytes_into(room, 7), room) == (3, b"abc....xyz")
    numbers = array.array("i", [0] * 4)
    here.send_bytes(array.array("i", [7, 8]))
    assert there.recv_bytes_into(numbers, 2 * numbers.itemsize) == 2 * numbers.itemsize
    assert list(numbers) == [0, 0, 7, 8]
    for offset in (-1, 11):
        with pytest.raises(ValueError):
            there.recv_bytes_into(room, offset)
    with pytest.raises((TypeError, BufferError)):
        here.send_bytes(b"abc")
        there.recv_bytes_into(b"read-only")


def test_a_message_too_long_for_the_buffer_is_in_the_error(module):
    here, there = module.Pipe()
    here.send_bytes(b"too long")
    with pytest.raises(multiprocessing.BufferTooShort) as caught:
        there.recv_bytes_into(bytearray(4))
    assert caught.value.args == (b"too long",)
    here.send_bytes(b"next")
    assert there.recv_bytes() == b"next"


def test_a_message_longer_than_maxlength_ends_the_reading(module):
    here, there = module.Pipe()
    here.send_bytes(b"1234")
    assert there.recv_bytes(4) == b"1234"
    with pytest.raises(ValueError):
        there.recv_bytes(-1)
    here.send_bytes(b"12345")
    with pytest.raises(OSError, match="bad message length"):
        there.recv_bytes(4)
    assert not there.readable
    there.send(1)
    assert here.recv() == 1
    reader, writer = module.Pipe(False)
    writer.send_bytes(b"12345")
    with pytest.raises(OSError, match="bad message length"):
        reader.recv_bytes(4)
    assert reader.closed


def test_the_end_of_file_comes_after_what_was_sent(module):
    here, there = module.Pipe()
    here.send("last")
    here.close()
    assert there.poll()
    assert there.recv() == "last"
    assert there.poll()
    for receive in (there.recv, there.recv_bytes, lambda: there.recv_bytes_into(bytearray(4))):
        with pytest.raises(EOFError):
            receive()
    with pytest.raises(BrokenPipeError):
        there.send(1)


def test_an_end_that_is_dropped_is_closed(module):
    here, there = module.Pipe()
    del here
    with pytest.raises(EOFError):
        there.recv()


def test_a_closed_connection_refuses_everything(module):
    here, _there = module.Pipe()
    with here as same:
        assert same is here and not here.closed
    assert here.closed
    here.close()
    calls = [here.recv, here.recv_bytes, here.poll, here.fileno]
    calls += [lambda: here.send(1), lambda: here.send_bytes(b""), lambda: module.wait([here])]
    for call in calls:
        with pytest.raises((OSError, ValueError), match=r"closed|[Ii]nvalid"):
            call()


def test_poll_tells_of_messages_and_takes_none(module):
    here, there = module.Pipe()
    for timeout in (0, 0.0, -1, 0.001):
        assert there.poll(timeout) is False
    here.send_bytes(b"")
    assert there.poll() is True
    assert there.poll(None) is True
    assert there.recv_bytes() == b""
    assert not there.poll()


def test_poll_without_a_timeout_waits_for_a_message(module, start):
    here, there = module.Pipe()
    polling = start(there.poll, None)
    here.send(1)
    assert polling.result() is True


def test_a_message_larger_than_any_buffer_waits_for_its_reader(module, start):
    here, there = module.Pipe()
    large = bytes(range(256)) * 20_000
    for send, receive in [
        (here.send_bytes, there.recv_bytes),
        (here.send, there.recv),
        (lambda data: here.send([data]), lambda: there.recv()[0]),
    ]:
        sending = start(send, large)
        assert receive() == large
        sending.result()


def test_a_hundred_kilobytes_need_no_reader(connection):
    here, there = connection.Pipe()
    for _ in range(100):
        here.send_bytes(b"x" * 1000)
    for _ in range(100):
        assert there.recv_bytes() == b"x" * 1000


def test_an_object_that_cannot_be_pickled_raises_and_nothing_is_sent(module):
    here, there = module.Pipe()

    class Unwilling:
        def __reduce__(self):
            raise RuntimeError("not me")

    with pytest.raises(RuntimeError, match="not me"):
        here.send(Unwilling())
    here.send("next")
    assert there.recv() == "next"


def test_an_object_that_cannot_be_unpickled_raises_and_the_next_one_comes(module):
    here, there = module.Pipe()
    here.send_bytes(b"no pickle")
    here.send(2)
    with pytest.raises(pickle.UnpicklingError):
        there.recv()
    assert there.recv() == 2


def test_our_connection_is_an_instance_of_the_standard_class(connection):
    here, there = connection.Pipe()
    assert isinstance(here, multiprocessing.connection.Connection)
    assert isinstance(here, connection.Connection)
    assert repr(here).startswith("<Connection 0x") and repr(here) != repr(there)
    here.close()
    assert repr(here) == "<Connection (closed)>"


def test_what_pickle_refuses_travels_by_value(connection):
    here, there = connection.Pipe()
    offset = 40
    here.send(lambda n: n + offset)
    assert there.recv()(2) == 42


def test_large_arrays_arrive_writable(connection, start):
    numpy = pytest.importorskip("numpy")
    here, there = connection.Pipe()
    for n in (10, 10_000, 300_000):
        sending = start(here.send, {"array": numpy.arange(n)})
        got = there.recv()["array"]
        sending.result()
        assert (got == numpy.arange(n)).all()
        got[0] = 7
