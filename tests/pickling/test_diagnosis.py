"""Errors of pickling name the object that cannot be pickled and its place."""

import collections
import dataclasses
import functools
import pickle
import threading

import pytest
from manyhands._pickling import codec, diagnose

pytestmark = pytest.mark.timeout(60)

LOCK = threading.Lock()


class Holder:
    def __init__(self, lock=LOCK):
        self.name = "holder"
        self.lock = lock


@dataclasses.dataclass(slots=True)
class Slotted:
    a: int
    b: object


Pair = collections.namedtuple("Pair", "a b")


def message_of(dump, *args):
    with pytest.raises(TypeError) as caught:
        dump(*args)
    assert isinstance(caught.value.__cause__, TypeError)
    return str(caught.value)


def test_an_argument_is_named_by_its_number_and_attribute():
    message = message_of(codec.dumps_call, (1, Holder()), {}, [])
    assert message == (
        "cannot pickle argument 2, attribute .lock ('_thread.lock' object): cannot pickle "
        "'_thread.lock' object; pass data that can be pickled, or create the lock in the worker "
        "(initializer=)"
    )


def test_a_keyword_argument_is_named():
    message = message_of(codec.dumps_call, (), {"x": [0, {"k": LOCK}]}, [])
    assert message.startswith("cannot pickle keyword argument 'x', item [1], key 'k' (")


def test_a_result_is_named():
    message = message_of(codec.dumps_result, Holder(), [])
    assert message.startswith("cannot pickle the result of the task, attribute .lock (")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (LOCK, ""),
        ([1, (2, LOCK)], ", item [1], item [1]"),
        ({LOCK: 1}, ", the key '_thread.lock' object itself"),
        ({LOCK}, ", an item of the set"),
        (Slotted(1, LOCK), ", attribute .b"),
        (Pair(1, LOCK), ", attribute .b"),
        (collections.OrderedDict(a=LOCK), ", key 'a'"),
        (collections.defaultdict(list, a=LOCK), ", key 'a'"),
        (collections.deque([LOCK]), ", item [0]"),
        (functools.partial(print, 1, LOCK), ", argument 2 of the partial"),
        (functools.partial(print, file=LOCK), ", keyword argument 'file' of the partial"),
        (Holder().__eq__, None),
        (ValueError(LOCK), ", a part of the 'ValueError' object"),
    ],
)
def test_the_place_inside_a_container_is_named(value, place):
    message = message_of(codec.dumps_result, value, [])
    if place is not None:
        assert message.startswith(f"cannot pickle the result of the task{place} ('_thread.lock'")


def test_a_captured_variable_is_named():
    lock = LOCK

    def inner():
        return lock

    message = message_of(codec.dumps_function, inner)
    assert "cannot pickle variable 'lock' captured by function 'test_a_captured" in message


def test_a_default_argument_is_named():
    message = message_of(codec.dumps_function, lambda x, lock=LOCK: x)
    assert "cannot pickle default of parameter 'lock' of function '" in message


def test_an_error_raised_by_reduce_keeps_its_class():
    class Refuses:
        def __reduce__(self):
            raise pickle.PicklingError("Error in pickle")

    with pytest.raises(pickle.PicklingError, match=r"argument 1.*Error in pickle"):
        codec.dumps_call((Refuses(),), {}, [])


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exits_pass_through(error):
    class Exits:
        def __reduce__(self):
            raise error

    with pytest.raises(error):
        codec.dumps((Exits(),), [])


def test_an_error_class_with_its_own_init_gets_a_note():
    class OddError(Exception):
        def __init__(self, a, b):
            super().__init__(f"{a} {b}")

    class Refuses:
        def __reduce__(self):
            raise OddError(1, 2)

    with pytest.raises(OddError) as caught:
        codec.dumps_call((Refuses(),), {}, [])
    assert "cannot pickle argument 1" in caught.value.__notes__[0]
    assert caught.value.__cause__ is None


def test_a_failed_pickle_leaves_no_buffers_behind():
    buffers = ["mine"]
    with pytest.raises(TypeError):
        codec.dumps((pickle.PickleBuffer(b"x"), LOCK), buffers)
    assert buffers == ["mine"]


def test_cycles_do_not_stop_the_search():
    cycle = []
    cycle += [cycle, {"again": cycle, "lock": LOCK}]
    assert "cannot pickle the result of the task" in message_of(codec.dumps_result, cycle, [])


def test_hostile_objects_do_not_break_the_search():
    class Hostile:
        def __init__(self):
            self.lock = LOCK

        def __getattr__(self, name):
            raise ZeroDivisionError(name)

        def __repr__(self):
            raise ZeroDivisionError

        def __reduce_ex__(self, protocol):
            raise TypeError("hostile")

        __eq__ = __hash__ = __len__ = __bool__ = __iter__ = __repr__

    message = message_of(codec.dumps_call, (Hostile(),), {}, [])
    assert "argument 1" in message


def test_a_too_deep_object_is_reported_once():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises((RecursionError, pickle.PicklingError)) as caught:
        codec.dumps_result(deep, [])
    assert len(str(caught.value)) < 400


def test_the_search_in_a_huge_object_is_bounded(monkeypatch):
    tries = []
    original = codec.dumps_unexplained
    monkeypatch.setattr(diagnose, "MAX_OBJECTS", 50)
    monkeypatch.setattr(codec, "dumps_unexplained", lambda *a: (tries.append(1), original(*a))[1])
    huge = [[number] for number in range(1000)] + [LOCK]
    with pytest.raises(TypeError):
        raise diagnose.explain_result(huge, TypeError("no"))
    assert len(tries) <= 50
