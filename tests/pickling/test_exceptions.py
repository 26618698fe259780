"""Exceptions of tasks reach the parent whatever their class is like."""

import gc
import pickle
import threading
import weakref

import pytest
import worker_functions
from bare_worker import BareWorker, run_script
from manyhands import RemoteError
from manyhands._pickling import codec

pytestmark = pytest.mark.timeout(120)


class PlainError(Exception):
    pass


class OtherSignatureError(Exception):
    def __init__(self, code, *, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class DoubledMessageError(Exception):
    def __init__(self, code):
        super().__init__(f"error {code}")


class SlotsError(Exception):
    __slots__ = ("extra",)

    def __init__(self, extra, more):
        super().__init__(more)
        self.extra = extra


class UnmakeableError(Exception):
    def __reduce__(self):
        raise TypeError("never")

    def __new__(cls, *args, allowed=False):
        if not allowed:
            raise TypeError("not like this")
        return super().__new__(cls, *args)

    def __init__(self, *args, allowed=False):
        super().__init__(*args)


def travelled(exc):
    try:
        raise exc
    except BaseException as raised:
        data = codec.dumps_exception(raised)
    return codec.loads_exception(data)


@pytest.mark.parametrize(
    "exc",
    [
        PlainError("a", 1),
        ValueError(),
        OSError(2, "no", "file"),
        KeyError("k"),
        SystemExit(3),
        KeyboardInterrupt(),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
        StopIteration(4),
    ],
)
def test_an_ordinary_exception_comes_back_equal(exc):
    copy = travelled(exc)
    assert type(copy) is type(exc) and copy.args == exc.args and str(copy) == str(exc)


def test_the_cause_is_the_remote_traceback():
    copy = travelled(PlainError("x"))
    assert type(copy.__cause__).__name__ == "_RemoteTraceback"
    text = str(copy.__cause__)
    assert text.startswith('\n"""\nTraceback (most recent call last):\n') and "raise exc" in text
    assert text.endswith('PlainError: x\n"""')


def test_a_custom_init_signature_keeps_its_class_and_attributes():
    copy = travelled(OtherSignatureError(5, reason="because"))
    assert type(copy) is OtherSignatureError
    assert (str(copy), copy.code, copy.reason) == ("5: because", 5, "because")


def test_a_message_made_by_init_is_not_made_twice():
    assert str(travelled(DoubledMessageError(7))) == "error 7"


def test_slots_travel():
    copy = travelled(SlotsError("extra", "more"))
    assert type(copy) is SlotsError and copy.extra == "extra" and copy.args == ("more",)


def test_an_attribute_that_cannot_be_pickled_stays_and_is_named_in_a_note():
    exc = PlainError("message")
    exc.lock, exc.kept = threading.Lock(), 5
    copy = travelled(exc)
    assert type(copy) is PlainError and copy.kept == 5 and not hasattr(copy, "lock")
    assert "attribute .lock: cannot pickle '_thread.lock'" in copy.__notes__[0]


def test_an_argument_that_cannot_be_pickled_becomes_its_repr():
    copy = travelled(PlainError(1, threading.Lock()))
    assert copy.args[0] == 1 and "unlocked _thread.lock" in copy.args[1]


def test_a_class_that_cannot_be_rebuilt_becomes_a_remote_error_with_its_name():
    copy = travelled(UnmakeableError("what it said", allowed=True))
    if isinstance(copy, UnmakeableError):
        assert copy.args == ("what it said",)
    else:
        assert isinstance(copy, RemoteError)
        assert "UnmakeableError: what it said" in str(copy)
    assert "what it said" in str(copy.__cause__)


def test_a_reduce_to_something_else_is_not_believed():
    class LiarError(Exception):
        def __reduce__(self):
            return str, ("not an exception",)

    copy = travelled(LiarError("truth"))
    assert isinstance(copy, Exception) and "truth" in str(copy)


def test_exception_groups_travel_with_what_their_members_can():
    bad = PlainError("bad")
    bad.lock = threading.Lock()
    group = ExceptionGroup("group", [ValueError(1), bad, OtherSignatureError(1, reason="r")])
    copy = travelled(group)
    assert type(copy) is ExceptionGroup and copy.message == "group"
    assert [type(e) for e in copy.exceptions] == [ValueError, PlainError, OtherSignatureError]
    assert copy.exceptions[2].code == 1


def test_notes_and_chains_are_not_lost():
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise PlainError("second") from error
    except PlainError as error:
        error.add_note("a note")
        copy = codec.loads_exception(codec.dumps_exception(error))
    assert copy.__notes__ == ["a note"]
    assert "KeyError: 'first'" in str(copy.__cause__) and "a note" in str(copy.__cause__)


def test_each_future_gets_an_object_of_its_own():
    data = codec.dumps_exception(PlainError("x"))
    assert codec.loads_exception(data) is not codec.loads_exception(data)


def test_the_frames_of_the_task_are_not_kept_alive():
    class Thing:
        pass

    def task():
        thing = Thing()
        seen.append(weakref.ref(thing))
        raise PlainError("x")

    seen = []
    try:
        task()
    except PlainError as error:
        kept = error
    codec.dumps_exception(kept)
    gc.collect()
    assert seen[0]() is None


def test_a_hostile_str_does_not_break_the_report():
    class HostileError(Exception):
        def __str__(self):
            raise ZeroDivisionError

        __repr__ = __str__

    assert isinstance(travelled(HostileError()), Exception)


def test_exceptions_of_main_classes_come_back_as_the_same_class(tmp_path):
    text = """
from bare_worker import BareWorker
class AppError(Exception):
    def __init__(self, code, *, why):
        super().__init__(why)
        self.code = code
def fail():
    raise AppError(5, why="no")
with BareWorker() as worker:
    try:
        worker.run(fail)
    except AppError as error:
        print(error.code, error)
        print(str(error.__cause__).splitlines()[-2])
"""
    assert run_script(text, tmp_path) == "5 no\nAppError: no\n"


def test_what_survived_in_the_worker_but_not_here_says_so():
    with BareWorker() as worker:
        with pytest.raises(pickle.UnpicklingError) as caught:
            worker.run(worker_functions.fail_only_there)
        assert worker.run(len, "abc") == 3
    assert "OnlyThereError: x" in str(caught.value) and "another process" in str(caught.value)
    assert "fail_only_there" in str(caught.value.__cause__)
