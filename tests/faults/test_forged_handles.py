"""A handle whose bytes were damaged or made up opens nothing, whatever they are.

A pickle names a shared object by 24 bytes. They are changed here in the pickles of all that can be
shared, and what comes out is opened: that raises `HandleError`, unless the bytes are those of an
object of the same kind that lives. `MANYHANDS_HANDLES` says how many are tried for each object.
"""

import ctypes
import os
import pickle
import pickletools
import random
import struct

import pytest
from manyhands import multiprocessing as mp
from manyhands import shared_array
from manyhands.multiprocessing import HandleError, shared_memory, sharedctypes

N_TRIES = int(os.environ.get("MANYHANDS_HANDLES", "400"))
HANDLE = struct.Struct("=QQII")  # Family, offset, serial number, kind.
PROTOCOL = 3  # Without frames, whose lengths would have to fit.


class Pair(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int), ("b", ctypes.c_double))


def _connections():
    return list(mp.Pipe())


MAKERS = {
    "queue": mp.Queue,
    "joinable queue": mp.JoinableQueue,
    "simple queue": mp.SimpleQueue,
    "connections": _connections,
    "lock": mp.Lock,
    "rlock": mp.RLock,
    "semaphore": lambda: mp.Semaphore(3),
    "bounded semaphore": lambda: mp.BoundedSemaphore(3),
    "condition": mp.Condition,
    "event": mp.Event,
    "barrier": lambda: mp.Barrier(3),
    "value": lambda: mp.Value("i", 1),
    "array": lambda: mp.Array("d", [1.0, 2.0]),
    "raw value": lambda: sharedctypes.RawValue("q", 1),
    "raw array": lambda: sharedctypes.RawArray("h", 200_000),
    "structure": lambda: mp.Value(Pair, 1, 2),
    "text": lambda: mp.Array("c", 8),
    "NumPy array": lambda: shared_array((3, 4)),
    "dict": lambda: mp.Manager().dict(a=1),
    "list": lambda: mp.Manager().list([1, 2]),
    "namespace": lambda: mp.Manager().Namespace(x=1),
    "managed value": lambda: mp.Manager().Value("i", 1),
    "managed array": lambda: mp.Manager().Array("i", [1, 2]),
    "managed queue": lambda: mp.Manager().Queue(),
    "managed event": lambda: mp.Manager().Event(),
}


@pytest.fixture(scope="module")
def objects():
    """One of each, which live as long as the tests of this module run."""
    return {name: maker() for name, maker in MAKERS.items()}


def handles_in(data):
    """Where the handles lie in a pickle."""
    return [
        position + 2
        for code, argument, position in pickletools.genops(data)
        if code.name == "SHORT_BINBYTES" and len(argument) == HANDLE.size
    ]


def damage(parts, others, rng):
    """Other numbers in the place of these."""
    family, offset, serial, kind = parts
    other = rng.choice(others)
    return rng.choice(
        (
            (family ^ (1 << rng.randrange(64)), offset, serial, kind),
            (family, offset ^ (1 << rng.randrange(64)), serial, kind),
            (family, offset, serial ^ (1 << rng.randrange(32)), kind),
            (family, offset, serial, kind ^ (1 << rng.randrange(32))),
            (family, other[1], serial, kind),
            (family, other[1], other[2], kind),
            (family, other[1] + 64 * rng.randrange(64), other[2], kind),
            (family, offset, serial, rng.randrange(64)),
            (family, offset + 8 * rng.randrange(1, 64), serial, kind),
            (family, rng.randrange(1 << 41), rng.getrandbits(32), kind),
            (rng.getrandbits(64), rng.getrandbits(64), rng.getrandbits(32), rng.getrandbits(32)),
        )
    )


def all_handles(objects):
    pickles = [pickle.dumps(made, PROTOCOL) for made in objects.values()]
    return [HANDLE.unpack_from(data, at) for data in pickles for at in handles_in(data)]


@pytest.mark.parametrize("name", MAKERS)
def test_a_damaged_handle_is_refused(objects, name):
    rng = random.Random(f"{name} {os.environ.get('MANYHANDS_SEED', '')}")
    living = all_handles(objects)
    assert len({parts[3] for parts in living}) >= 9, "a kind is missing"
    data = pickle.dumps(objects[name], PROTOCOL)
    places = handles_in(data)
    assert places, "the pickle names an object"
    for _ in range(N_TRIES):
        at = rng.choice(places)
        parts = HANDLE.unpack_from(data, at)
        damaged = damage(parts, living, rng)
        forged = bytearray(data)
        HANDLE.pack_into(forged, at, *damaged)
        if damaged in living and damaged[3] == parts[3]:
            continue  # Of another object of the same kind: that is a handle as good as any.
        with pytest.raises(HandleError):
            pickle.loads(forged)
    assert pickle.loads(data) is not None, "the right one opens as before"


@pytest.mark.parametrize("name", MAKERS)
def test_a_handle_of_another_length_is_refused(objects, name):
    data = pickle.dumps(objects[name], PROTOCOL)
    for at in handles_in(data):
        for length in (0, 1, 16, 23, 25, 48):
            name_of = (data[at : at + HANDLE.size] * 2)[:length]
            forged = data[: at - 1] + bytes([length]) + name_of + data[at + HANDLE.size :]
            with pytest.raises(HandleError, match="not the handle of a shared object"):
                pickle.loads(forged)


def test_an_object_opens_as_no_other_kind_and_says_what_it_is(objects):
    data = pickle.dumps(objects["event"], PROTOCOL)
    (at,) = handles_in(data)
    of_event = HANDLE.unpack_from(data, at)
    by_kind = {parts[3]: parts for parts in all_handles(objects) if parts[3] != of_event[3]}
    for parts in by_kind.values():
        forged = bytearray(data)
        HANDLE.pack_into(forged, at, *parts)
        with pytest.raises(HandleError, match=r"names an object of the kind .*, not"):
            pickle.loads(forged)
        HANDLE.pack_into(forged, at, *parts[:3], of_event[3])
        with pytest.raises(HandleError, match=r"names an object of the kind .*, not"):
            pickle.loads(forged)


def test_bytes_that_a_program_shares_are_no_object(objects):
    """Neither what it writes into memory, nor a long message on its way, is believed."""
    family, offset, serial, kind = all_handles({"array": objects["array"]})[0]
    header = struct.pack("=IIQQ", kind, serial, 64, 0)
    fakes = header.ljust(64, b"\0") * 4_000
    memory = shared_memory.SharedMemory(create=True, size=len(fakes))
    queue = mp.SimpleQueue()
    try:
        memory.buf[: len(fakes)] = fakes
        queue.put(fakes)
        data = pickle.dumps(objects["raw value"], PROTOCOL)
        (at,) = handles_in(data)
        near = offset // (256 << 10) * (256 << 10)
        for place in range(max(near - (1 << 20), 0), near + (2 << 20), 64):
            forged = bytearray(data)
            HANDLE.pack_into(forged, at, family, place, serial, kind)
            if place != offset:
                with pytest.raises(HandleError):
                    pickle.loads(forged)
        assert queue.get() == fakes
    finally:
        memory.close()
        memory.unlink()


def test_a_message_with_references_that_are_none_is_passed_over(objects):
    """What is left to a process that starts is a list of handles: of nothing, it is nothing."""
    from manyhands import _runtime

    family, offset, serial, kind = all_handles({"lock": objects["lock"]})[0]
    wrong = [
        (family, offset, serial + 1, kind),
        (family, offset + 64, serial, kind),
        (family, 0, serial, kind),
        (family, 1 << 62, serial, kind),
    ]
    handles = b"".join(HANDLE.pack(*parts) for parts in wrong)
    references = _runtime.References.take_over(handles)
    assert not references.named
    references.release()
    with objects["lock"]:
        assert not pickle.loads(pickle.dumps(objects["lock"])).acquire(block=False)
