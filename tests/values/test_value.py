"""`Value` and `RawValue`: numbers that processes share, and the atomic operations on them."""

import copy
import ctypes
import pickle
import threading

import pytest
from manyhands.multiprocessing import Value
from manyhands.multiprocessing import sharedctypes as shared

INTEGERS = "bBhHiIlLqQ"


def limits(code):
    n_bits = 8 * ctypes.sizeof(shared.RawValue(code))
    return (0, 2**n_bits - 1) if code.isupper() else (-(2 ** (n_bits - 1)), 2 ** (n_bits - 1) - 1)


LIMITS = {code: limits(code) for code in INTEGERS}


@pytest.mark.parametrize("code", INTEGERS)
def test_an_integer_holds_the_whole_range_of_its_type(code):
    low, high = LIMITS[code]
    value = Value(code, low)
    assert value.value == low
    value.value = high
    assert value.value == high


@pytest.mark.parametrize("code", INTEGERS)
def test_an_assigned_integer_keeps_its_low_bits_as_in_ctypes(code):
    _, high = LIMITS[code]
    value, raw = Value(code), shared.RawValue(code)
    for number in (high + 1, -high - 5, 2**70 + 3):
        value.value = raw.value = number
        assert value.value == raw.value


@pytest.mark.parametrize("code", INTEGERS)
def test_an_atomic_operation_that_leaves_the_range_raises_and_changes_nothing(code):
    low, high = LIMITS[code]
    value = Value(code, high)
    with pytest.raises(OverflowError, match="nothing was changed"):
        value.add(1)
    value.value = low
    with pytest.raises(OverflowError, match="nothing was changed"):
        value.sub(1)
    for operation in (value.add, value.exchange, value.max):
        with pytest.raises(OverflowError, match="does not fit"):
            operation(high + 1)
    assert value.value == low


def test_atomic_operations_return_what_the_cell_holds_then():
    value = Value("i", 10)
    assert value.add(5) == 15
    assert value.sub(1) == 14
    assert value.max(20) == 20
    assert value.max(3) == 20
    assert value.min(6) == 6
    assert value.or_(9) == 15
    assert value.and_(12) == 12
    assert value.xor(1) == 13
    assert value.update(lambda now: now * 2) == 26
    assert value.value == 26


def test_exchange_returns_what_the_cell_held():
    value = Value("q", 1)
    assert value.exchange(2) == 1
    assert value.value == 2


def test_compare_exchange_says_whether_it_wrote():
    value = Value("i", 1)
    assert value.compare_exchange(1, 2) is True
    assert value.compare_exchange(1, 3) is False
    assert value.value == 2


@pytest.mark.parametrize("code", "fd")
def test_floats_have_the_operations_that_make_sense(code):
    value = Value(code, 1.5)
    assert value.add(2) == 3.5
    assert value.sub(0.5) == 3.0
    assert value.max(4) == 4.0
    assert value.min(-1) == -1.0
    assert value.compare_exchange(-1.0, 0.0)
    assert value.compare_exchange(-0.0, 9.0), "compared as numbers, not as bits"
    with pytest.raises(TypeError, match=r"has no or_\(\)"):
        value.or_(1)


def test_a_bool_can_be_combined_but_not_counted():
    value = Value(ctypes.c_bool, False)
    assert value.or_(True) is True
    assert value.exchange(False) is True
    assert value.compare_exchange(False, True)
    with pytest.raises(TypeError, match=r"has no add\(\)"):
        value.add(1)


def test_what_is_no_number_is_refused_and_changes_nothing():
    value = Value("i", 3)
    with pytest.raises(TypeError):
        value.value = 1.5
    with pytest.raises(TypeError):
        value.add("1")
    with pytest.raises(TypeError):
        value.value = None
    assert value.value == 3


def test_the_function_of_update_is_called_once_with_the_lock_held():
    value = Value("i", 1)
    calls = []

    def change(now):
        calls.append(now)
        value.value = 100  # The same thread may; what it returns counts.
        return now + 1

    assert value.update(change) == 2
    assert calls == [1]
    with pytest.raises(ZeroDivisionError):
        value.update(lambda now: now // 0)
    with pytest.raises(OverflowError):
        value.update(lambda now: 2**40)
    assert value.value == 2
    assert value.get_lock().acquire(False), "the lock was given back after every error"
    value.get_lock().release()


def test_threads_lose_no_atomic_update():
    value, n_threads, n_each = Value("q"), 4, 2_000
    threads = [
        threading.Thread(target=lambda: [value.add(1) for _ in range(n_each)])
        for _ in range(n_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value.value == n_threads * n_each


def test_an_access_waits_for_whoever_holds_the_lock():
    value, seen, started = Value("i", 1), [], threading.Event()

    def read():
        started.set()
        seen.append(value.value)
        seen.append(value.add(1))

    with value.get_lock():
        value.value = -1
        thread = threading.Thread(target=read)
        thread.start()
        started.wait()
        value.value = 5
    thread.join()
    assert seen == [5, 6]


def test_the_lock_may_be_given_shared_or_left_out():
    lock = threading.RLock()
    assert Value("i", lock=lock).get_lock() is lock
    bare = Value("i", 5, lock=False)
    assert isinstance(bare, ctypes.c_int)
    assert not hasattr(bare, "get_lock")
    with pytest.raises(AttributeError, match="acquire"):
        Value("i", lock="nonsense")


def test_value_can_be_used_as_a_context_manager_and_like_its_lock():
    value = Value("i", 1)
    with value:
        value.value += 1
    assert value.acquire()
    assert value.acquire(block=False)
    value.release()
    value.release()


def test_a_structure_has_its_fields():
    class Point(ctypes.Structure):
        _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))

    class Point3(Point):
        _fields_ = (("z", ctypes.c_int),)

    point = Value(Point3, 1, 2.5, 3)
    point.x += 1
    assert (point.x, point.y, point.z) == (2, 2.5, 3)
    assert point.get_obj().y == 2.5
    assert type(point).__name__ == "SynchronizedPoint3"


def test_characters_are_values_too():
    assert Value("c", b"x").value == b"x"
    assert Value("u", "é").value == "é"
    assert Value(ctypes.c_longdouble, 1.5).value == 1.5


def test_get_obj_is_the_ctypes_object_over_the_same_memory():
    value = Value("h", -3)
    obj = value.get_obj()
    assert isinstance(obj, ctypes.c_short)
    obj.value = 12
    assert value.value == 12


def test_raw_values_are_ctypes_objects():
    raw = shared.RawValue(ctypes.c_double, 0.5)
    assert isinstance(raw, ctypes.c_double)
    assert repr(raw) == "c_double(0.5)"
    assert ctypes.sizeof(raw) == 8
    ctypes.cast(ctypes.pointer(raw), ctypes.POINTER(ctypes.c_double))[0] = 2.5
    assert raw.value == 2.5


def test_a_copy_of_a_raw_value_is_private_or_shared_as_asked():
    raw = shared.RawValue("i", 1)
    private, other = copy.copy(raw), shared.copy(raw)
    assert type(private) is ctypes.c_int
    raw.value = 2
    assert (private.value, other.value) == (1, 1)


def test_synchronized_wraps_what_is_shared_and_what_is_not():
    assert shared.synchronized(shared.RawValue("i", 1)).add(1) == 2
    plain = shared.synchronized(ctypes.c_int(3))
    plain.value += 1
    assert plain.value == 4
    with pytest.raises(AssertionError):
        shared.synchronized(plain)


def test_the_classes_are_those_that_annotations_name():
    for value in (Value("i"), Value("c"), shared.synchronized(ctypes.c_int())):
        assert isinstance(value, shared.Synchronized)
        assert isinstance(value, shared.SynchronizedBase)
        assert type(value).__name__ == "Synchronized"
    assert repr(Value("i", 3)) == "<Synchronized wrapper for c_int(3)>"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_raw_value_is_the_same_memory(protocol):
    raw = shared.RawValue("i", 1)
    again = pickle.loads(pickle.dumps(raw, protocol))
    again.value = 7
    assert raw.value == 7
