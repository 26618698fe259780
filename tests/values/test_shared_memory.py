"""`SharedMemory` and `ShareableList`: bytes and short lists by name or by handle."""

import gc
import multiprocessing.shared_memory as standard
import os
import pickle
import struct
import sys
import threading

import pytest
from manyhands import multiprocessing
from manyhands.multiprocessing.shared_memory import ShareableList, SharedMemory


def entries():
    return {entry.name for entry in os.scandir("/dev/shm")}


@pytest.fixture
def block():
    block = SharedMemory(create=True, size=100)
    yield block
    block.close()
    try:
        block.unlink()
    except FileNotFoundError:
        pass


def write(name_or_block, data):
    block = SharedMemory(name_or_block) if isinstance(name_or_block, str) else name_or_block
    block.buf[: len(data)] = data
    block.close()


@pytest.mark.parametrize("method", ["template", "spawn", "fork"])
def test_it_reaches_other_processes_by_its_name_and_by_itself(block, method):
    context = multiprocessing.get_context(method)
    for what, data in ((block.name, b"howdy"), (block, b"HELLO")):
        process = context.Process(target=write, args=(what, data))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert bytes(block.buf[:5]) == data


def test_nothing_of_it_is_in_dev_shm(block):
    assert not any(block.name in entry for entry in entries())
    assert block.size == 100
    assert len(block.buf) == 100
    assert block.name in repr(block)
    assert isinstance(block, standard.SharedMemory)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_it_opens_the_same_block(block, protocol):
    again = pickle.loads(pickle.dumps(block, protocol))
    again.buf[0] = 7
    assert block.buf[0] == 7
    assert again.name == block.name
    again.close()


def test_nothing_opens_it_once_it_is_unlinked(block):
    pickled = pickle.dumps(block)
    again = SharedMemory(block.name)
    again.unlink()
    with pytest.raises(FileNotFoundError):
        SharedMemory(block.name)
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)
    with pytest.raises(FileNotFoundError):
        block.unlink()
    block.buf[0] = again.buf[0] = 3  # Who has it open keeps it.
    again.close()


def test_it_stays_while_it_is_linked_though_nobody_has_it_open(block):
    block.buf[:3] = b"abc"
    block.close()
    again = SharedMemory(block.name)
    assert bytes(again.buf[:3]) == b"abc"
    again.close()


def test_closing_with_slices_of_it_around_is_a_buffer_error(block):
    piece = block.buf[2:5]
    with pytest.raises(BufferError):
        block.close()
    piece[0] = 1
    piece.release()
    block.close()
    block.close()
    assert block.buf is None


@pytest.mark.parametrize("options", [{"size": 0}, {"size": -1}, {}])
def test_a_size_that_is_not_positive_is_refused(options):
    with pytest.raises(ValueError, match="size"):
        SharedMemory(create=True, **options)


def test_opening_needs_a_name_that_is_known():
    with pytest.raises(ValueError):
        SharedMemory()
    for name in ("mh_1_2_3", "mh_nonsense", "mh_", f"mh_{1 << 70:x}_0_0"):
        with pytest.raises(FileNotFoundError):
            SharedMemory(name)


def test_a_name_of_ones_own_makes_a_standard_block():
    name = f"manyhands-test-{os.getpid()}"
    block = SharedMemory(name, create=True, size=10)
    try:
        assert name in entries()
        other = standard.SharedMemory(name)
        other.buf[0] = 5
        other.close()
        again = pickle.loads(pickle.dumps(block))
        assert (block.buf[0], again.buf[0], again.name) == (5, 5, name)
        again.close()
        with pytest.raises(FileExistsError):
            SharedMemory(name, create=True, size=10)
    finally:
        block.close()
        block.unlink()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the standard class has no track")
def test_untracked_standard_blocks_are_opened_too():
    name = f"manyhands-test-{os.getpid()}"
    block = SharedMemory(name, create=True, size=10, track=False)
    block.close()
    block.unlink()


def test_a_block_that_is_forgotten_open_warns_of_nothing_and_is_let_go():
    block = SharedMemory(create=True, size=10)
    block.unlink()
    del block
    gc.collect()


def test_a_list_holds_numbers_texts_bytes_and_none():
    values = [1, -2.5, True, False, None, "größe", b"\0\1", 2**63 - 1, "", b""]
    shared = ShareableList(values)
    assert list(shared) == values
    assert len(shared) == len(values)
    assert shared[-1] == b""
    assert shared[2] is True
    again = pickle.loads(pickle.dumps(shared))
    again[0] = 5
    assert shared[0] == 5
    assert shared.count(5) == 1
    assert shared.index("größe") == 5
    with pytest.raises(ValueError):
        shared.index("missing")
    for index in (10, -11):
        with pytest.raises(IndexError):
            shared[index]
    again.shm.close()
    shared.shm.close()
    shared.shm.unlink()


def test_an_element_keeps_the_room_it_was_made_with():
    shared = ShareableList(["12345678", 1, None])
    shared[0] = "größeA"
    assert shared[0] == "größeA"
    with pytest.raises(ValueError, match="exceeds available storage"):
        shared[0] = "größe 789"
    assert shared[0] == "größeA"
    shared[2] = 3.5
    shared[1] = b"12345678"
    assert list(shared) == ["größeA", b"12345678", 3.5]
    with pytest.raises(struct.error):
        shared[1] = 2**70
    with pytest.raises(ValueError, match="holds int, float"):
        shared[1] = []
    shared.shm.close()
    shared.shm.unlink()


def test_a_list_is_opened_by_its_name():
    shared = ShareableList([1, 2, 3])
    again = ShareableList(name=shared.shm.name)
    again[0] = 9
    assert list(shared) == [9, 2, 3]
    assert shared.format == "qqq"
    again.shm.close()
    shared.shm.close()
    shared.shm.unlink()
    with pytest.raises(FileNotFoundError):
        ShareableList(name=shared.shm.name)


def test_a_list_with_a_name_of_ones_own_is_a_standard_one():
    name = f"manyhands-test-{os.getpid()}"
    shared = ShareableList([1, "two"], name=name)
    try:
        assert list(standard.ShareableList(name=name)) == [1, "two"]
        assert isinstance(ShareableList([1]), standard.ShareableList)
    finally:
        shared.shm.close()
        shared.shm.unlink()


def test_a_block_made_while_others_lose_their_names_is_kept():
    def come_and_go():
        while not is_over.is_set():
            block = SharedMemory(create=True, size=16)
            block.close()
            block.unlink()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    is_over = threading.Event()
    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        names = []
        for _ in range(300):
            block = SharedMemory(create=True, size=16)
            block.close()
            names.append(block.name)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    for name in names:
        block = SharedMemory(name=name)
        block.close()
        block.unlink()
