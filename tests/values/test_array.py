"""`Array` and `RawArray`: rows of numbers that processes share."""

import array
import ctypes
import pickle
import threading

import pytest
from manyhands.multiprocessing import Array
from manyhands.multiprocessing import sharedctypes as shared


def test_an_array_starts_with_zeros_or_with_what_it_is_given():
    assert Array("i", 3)[:] == [0, 0, 0]
    assert Array("d", range(3))[:] == [0.0, 1.0, 2.0]
    assert len(Array("i", 0)) == 0


def test_indices_and_slices_are_those_of_a_list():
    numbers, model = Array("i", range(10)), list(range(10))
    for index in (0, 9, -1, -10, slice(2, 5), slice(None, None, -2), slice(20, 30), slice(5, 2)):
        assert numbers[index] == model[index]
    assert list(numbers) == model
    assert 7 in numbers
    for index in (10, -11, 2**70):
        with pytest.raises(IndexError):
            numbers[index]
    for index in ("1", 1.0, None):
        with pytest.raises(TypeError, match="indices must be integers or slices"):
            numbers[index]


def test_slices_are_assigned_element_by_element():
    numbers = Array("i", range(6))
    numbers[1:3] = array.array("i", [10, 20])
    numbers[::-2] = [1, 2, 3]
    assert numbers[:] == [0, 3, 20, 2, 4, 1]
    with pytest.raises(ValueError, match="3 values cannot be assigned to 2 elements"):
        numbers[:2] = [1, 2, 3]
    with pytest.raises(TypeError):
        numbers[0] = "x"


def test_elements_have_atomic_operations():
    numbers = Array("i", [1, 2, 3])
    assert numbers.add(0, 5) == 6
    assert numbers.sub(-1, 1) == 2
    assert numbers.max(1, 9) == 9
    assert numbers.min(1, 4) == 4
    assert numbers.or_(1, 3) == 7
    assert numbers.and_(1, 6) == 6
    assert numbers.xor(1, 1) == 7
    assert numbers.exchange(1, 0) == 7
    assert numbers.compare_exchange(1, 0, 8)
    assert not numbers.compare_exchange(1, 0, 9)
    assert numbers.update(1, lambda now: now // 2) == 4
    assert numbers[:] == [6, 4, 2]
    with pytest.raises(IndexError):
        numbers.add(3, 1)
    with pytest.raises(OverflowError):
        numbers.add(0, 2**31 - 1)


def test_threads_lose_no_atomic_update_of_an_element():
    counts, n_each = Array("d", 2), 1_000
    threads = [
        threading.Thread(target=lambda idx=idx: [counts.add(idx % 2, 1) for _ in range(n_each)])
        for idx in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts[:] == [2 * n_each, 2 * n_each]


@pytest.mark.parametrize("code", "bBhHiIqQfd")
def test_an_array_is_a_typed_buffer_over_its_own_memory(code):
    numbers = Array(code, [1, 2, 3])
    view = memoryview(numbers)
    assert (view.format, view.shape, view.readonly) == (code, (3,), False)
    view[1] = 20
    assert numbers[1] == 20
    assert bytes(view) == bytes(numbers.get_obj())


def test_numpy_sees_the_elements_without_a_copy():
    numpy = pytest.importorskip("numpy")
    numbers = Array("d", [1, 2, 3])
    for seen in (numbers.numpy(), numpy.asarray(numbers), numpy.frombuffer(numbers)):
        assert seen.dtype == numpy.float64
        numpy.add(seen, 1, out=seen)
    assert numbers[:] == [4, 5, 6]
    # The memory stays while a view needs it.
    view = Array("i", [5]).numpy()
    assert view.tolist() == [5]


def test_characters_are_bytes_with_value_and_raw():
    text = Array("c", 6)
    text.value = b"abc"
    assert (text.value, text.raw, len(text)) == (b"abc", b"abc\0\0\0", 6)
    text[0:2] = b"xy"
    assert text.value == b"xyc"
    assert isinstance(text, shared.SynchronizedString)
    assert isinstance(text, shared.SynchronizedArray)
    assert Array("c", b"hello").value == b"hello"
    assert Array("u", "hej")[:] == "hej"


def test_arrays_of_structures_are_wrapped():
    class Pair(ctypes.Structure):
        _fields_ = (("a", ctypes.c_int), ("b", ctypes.c_int))

    pairs = Array(Pair, [(1, 2), (3, 4)])
    assert pairs[1].b == 4
    assert len(pairs) == 2


def test_raw_arrays_are_ctypes_arrays_that_are_pickled_as_handles():
    raw = shared.RawArray("h", [1, 2, 3])
    assert isinstance(raw, ctypes.Array)
    again = pickle.loads(pickle.dumps(raw))
    again[1] = 50
    assert raw[:] == [1, 50, 3]
    assert shared.synchronized(raw).add(0, 1) == 2


def test_the_lock_may_be_given_shared_or_left_out():
    lock = threading.RLock()
    assert Array("i", 1, lock=lock).get_lock() is lock
    assert not hasattr(Array("i", 1, lock=False), "get_lock")
    with pytest.raises(AttributeError, match="acquire"):
        Array("i", 1, lock="nonsense")
    with Array("i", 1) as _:
        pass


def test_negative_sizes_are_refused():
    with pytest.raises(ValueError):
        Array("i", -1)


def test_a_slice_is_converted_before_the_first_element_is_set():
    class Looks:
        def __index__(self):
            seen.append((array[:], array.get_lock()._is_mine()))
            return 7

    seen = []
    array = Array("i", 3)
    with pytest.raises(TypeError):
        array[:] = [1, Looks(), "three"]
    assert array[:] == [0, 0, 0]
    array[:] = [1, 2, Looks()]
    assert seen == [([0, 0, 0], False)] * 2
    assert array[:] == [1, 2, 7]
