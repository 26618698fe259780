"""RwLock: many readers or one writer, and no writer waits for ever."""

import threading
import time

import pytest


@pytest.fixture
def lock(ours):
    return ours.RwLock()


def test_readers_are_inside_together(lock, start):
    together = threading.Barrier(4, timeout=60)

    def read():
        with lock.read() as taken:
            together.wait()
            return taken

    assert [each.result() for each in [start(read) for _ in range(4)]] == [True] * 4
    assert lock.locked() is False


def test_a_writer_is_inside_alone(lock, start):
    with lock.write():
        assert start(lock.acquire_read, False).result() is False
        assert start(lock.acquire_write, False).result() is False
        assert start(lock.acquire_read, True, 0.01).result() is False
        assert start(lambda: lock.acquire_write(timeout=0.01)).result() is False
    assert lock.acquire_write(blocking=False) is True
    lock.release_write()


def test_a_reader_keeps_writers_out_and_readers_in(lock, start):
    with lock.read():
        assert start(lock.acquire_write, False).result() is False
        assert lock.readers == 1
        assert start(lambda: lock.acquire_read(False) and lock.release_read()).result() is None
    assert lock.readers == 0


def test_a_waiting_writer_is_not_starved_by_readers_that_keep_coming(lock, start, until):
    written, n_inside = [], [0] * 4

    def read(idx):
        n_rounds = 0
        while not written:
            with lock.read():
                n_inside[idx] += 1
                time.sleep(0.0005)  # The readers overlap: without a rule nobody would ever write.
            n_rounds += 1
        return n_rounds

    def write():
        with lock.write():
            written.append(1)

    readers = [start(read, idx) for idx in range(4)]
    until(lambda: all(n_inside))
    start(write).result()
    assert all(each.result() > 0 for each in readers)


def test_an_exception_gives_the_lock_back(lock):
    for access in (lock.read, lock.write):
        with pytest.raises(ZeroDivisionError), access():
            raise ZeroDivisionError
        assert lock.acquire_write(False) is True
        lock.release_write()


def test_what_read_returns_can_be_entered_again(lock):
    reading = lock.read()
    for _ in range(3):
        with reading:
            assert lock.readers == 1
    with reading, reading:
        assert lock.readers == 2


def test_releasing_what_is_not_held_is_an_error(lock, start):
    with pytest.raises(RuntimeError, match="nobody reads"):
        lock.release_read()
    with pytest.raises(RuntimeError, match="does not write"):
        lock.release_write()
    with lock.read(), pytest.raises(RuntimeError):
        lock.release_write()
    with lock.write():
        with pytest.raises(RuntimeError):
            lock.release_read()
        assert isinstance(start(lock.release_write).error(), RuntimeError)


def test_timeouts_are_checked_as_those_of_locks(lock):
    for acquire in (lock.acquire_read, lock.acquire_write):
        with pytest.raises(ValueError, match="timeout"):
            acquire(False, 1)
        with pytest.raises(ValueError):
            acquire(timeout=-2)
    assert lock.locked() is False


def test_readers_and_writers_see_whole_updates_only(lock, start):
    pair, n_writers, n_updates = [0, 0], 4, 300

    def write():
        for _ in range(n_updates):
            with lock.write():
                pair[0] += 1
                time.sleep(0)
                pair[1] += 1

    def read():
        last = 0
        while last < n_writers * n_updates:
            with lock.read():
                first, second = pair
            assert first == second
            assert first >= last
            last = first

    running = [start(write) for _ in range(n_writers)] + [start(read) for _ in range(4)]
    for each in running:
        each.result()
    assert pair == [n_writers * n_updates] * 2


def test_the_repr_shows_who_is_inside(lock):
    assert repr(lock).endswith(": unlocked>")
    with lock.read():
        assert "1 reader" in repr(lock)
        with lock.read():
            assert "2 readers" in repr(lock)
    with lock.write():
        assert "writing" in repr(lock)
