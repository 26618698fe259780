"""What arrives of a script: classes, enumerations, functions and variables of ``__main__``.

See docs/what-travels.md; `test_what_travels` has what belongs to no script.
"""

import pytest
import test_what_travels  # noqa: F401 - its rows count
import travel_rows
from bare_worker import run_script
from travel_rows import row

pytestmark = pytest.mark.timeout(120)

HEADER = "import sys\nfrom bare_worker import BareWorker\n"


def test_each_row_of_the_page_has_a_test():
    assert sorted(travel_rows.ROWS) == sorted(travel_rows.rows_of_the_page())


@row("members of enumerations")
def test_enumerations_keep_their_members_attributes_and_aliases(tmp_path):
    text = """
import datetime, enum
class Planet(enum.Enum):
    EARTH = (5.9, 6.3)
    TERRA = (5.9, 6.3)
    MARS = (0.6, 3.3)
    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius
    @property
    def ratio(self):
        return self.mass / self.radius
class Code(int, enum.Enum):
    def __new__(cls, number, phrase):
        made = int.__new__(cls, number)
        made._value_, made.phrase = phrase.upper(), phrase
        return made
    OK = 200, "fine"
    GONE = 410, "gone"
class Day(datetime.date, enum.Enum):
    FIRST = 2020, 1, 1
class Right(enum.Flag, boundary=enum.KEEP):
    READ = 1
    WRITE = 2
    BOTH = 3
class Word(enum.StrEnum):
    RED = enum.auto()
    @classmethod
    def _missing_(cls, value):
        return cls.RED
class Base(enum.Enum):
    def __new__(cls, *args):
        made = object.__new__(cls)
        made._value_ = len(cls.__members__) + 1
        return made
    def shown(self):
        return f"{self.name}={self.value}"
class Auto(Base):
    A = ()
    B = ()
class Operation(enum.Enum):
    ADD = enum.member(lambda a, b: a + b)
    def __call__(self, *args):
        return self.value(*args)
def check(earth):
    assert earth is Planet.EARTH is Planet.TERRA is Planet["TERRA"] and earth.ratio > 0.9
    assert list(Planet.__members__) == ["EARTH", "TERRA", "MARS"] and len(Planet) == 2
    assert Code.OK.phrase == "fine" and Code("FINE") is Code.OK and Code.OK + 1 == 201
    assert Day.FIRST.year == 2020 and Day.FIRST == datetime.date(2020, 1, 1)
    assert Right.BOTH == Right.READ | Right.WRITE and Right["BOTH"] is Right.BOTH
    assert list(Right.__members__) == ["READ", "WRITE", "BOTH"] and Right(8).value == 8
    assert Word("x") is Word.RED and Word.RED == "red"
    assert [each.shown() for each in Auto] == ["A=1", "B=2"]
    assert Operation.ADD(1, 2) == 3
    assert not {"__init__", "__new_member__"} & set(vars(Operation))
    assert "__init__" in vars(Planet) and "__new_member__" in vars(Code)
    return earth, Code.GONE, Right.BOTH
with BareWorker() as worker:
    for _ in range(2):
        assert worker.run(check, Planet.EARTH) == (Planet.EARTH, Code.GONE, Right.BOTH)
    assert worker.run(lambda: Planet) is Planet
print("ok")
"""
    assert run_script(HEADER + text, tmp_path) == "ok\n"


@row("classes and functions of `__main__`, and nested ones")
def test_classes_of_a_script_come_home_with_their_names_hints_and_reducers(tmp_path):
    text = """
import copyreg, dataclasses, typing
class Outer:
    class Inner:
        pass
@dataclasses.dataclass
class Order:
    dish: "Outer"
    rest: "list[Order] | None" = None
class Handle:
    def __init__(self, n):
        self.n, self.generator = n, (i for i in range(3))
copyreg.pickle(Handle, lambda handle: (Handle, (handle.n,)))
def check(inner, handle):
    assert type(inner).__qualname__ == "Outer.Inner"
    assert not hasattr(sys.modules["__main__"], "Inner")
    hints = typing.get_type_hints(Order)
    assert hints["dish"] is Outer
    return type(inner), Handle(handle.n + 1), lambda: inner
with BareWorker() as worker:
    cls, handle, function = worker.run(check, Outer.Inner(), Handle(1))
assert cls is Outer.Inner and handle.n == 2 and type(function()) is Outer.Inner
print("ok")
"""
    assert run_script(HEADER + text, tmp_path) == "ok\n"


@row("classes with `__slots__`, nested names, attributes like a base's")
def test_classes_keep_their_slots_and_attributes(tmp_path):
    text = """
import dataclasses, typing
class Slots:
    __slots__ = ("a", "__private")
    def __init__(self):
        self.a, self.__private = 1, 2
    def private(self):
        return self.__private
class More(Slots):
    __slots__ = {"b": "its text", "__weakref__": ""}
@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    x: int = 5
class Base:
    version = 1
class Child(Base):
    version = 1
def check(slots, more, frozen):
    for obj in (slots, more, frozen):
        assert not hasattr(obj, "__dict__")
        try:
            object.__setattr__(obj, "undeclared", 1)
        except AttributeError:
            continue
        raise AssertionError(obj)
    Base.version = 2
    assert Child.version == 1 and "version" in vars(Child)
    assert slots.private() == 2 and More.b.__doc__ is None and More.__slots__["b"] == "its text"
    return slots, more, frozen
sent = Slots(), More(), Frozen()
with BareWorker() as worker:
    got = worker.run(check, *sent)
assert [*map(type, got)] == [*map(type, sent)] and got[2] == Frozen() and got[0].private() == 2
assert Base.version == 1
print("ok")
"""
    assert run_script(HEADER + text, tmp_path) == "ok\n"


@row("classes whose base has an `__init_subclass__`")
def test_class_keywords_are_neither_missed_nor_guessed(tmp_path):
    text = """
import abc
calls = []
class Base:
    count = 0
    def __init_subclass__(cls, /, arg, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.arg = arg
        Base.count += 1
class Child(Base, arg="given"):
    pass
class Abstract(abc.ABC):
    made = []
    def __init_subclass__(cls, key=None):
        cls.key = key
        Abstract.made.append(key)
    @abc.abstractmethod
    def must(self): ...
class Concrete(Abstract, key="k"):
    def must(self):
        return super().__doc__
class Meta(type):
    def __new__(meta, name, bases, body, *, flag):
        made = super().__new__(meta, name, bases, body)
        made.flag = flag
        return made
    def __init__(cls, name, bases, body, *, flag):
        super().__init__(name, bases, body)
class Flagged(metaclass=Meta, flag=3):
    pass
class Further(Flagged, flag=4):
    pass
def check(child, concrete):
    assert child.arg == "given" and Base.count == 1 and type(child) is Child
    assert concrete.key == "k" and Abstract.made == ["k"] and concrete.must() is None
    assert isinstance(concrete, Abstract)
    try:
        Abstract()
    except TypeError:
        assert Flagged.flag == 3 and Further.flag == 4 and type(Further) is Meta
        return Child(), Further(), Concrete()
with BareWorker() as worker:
    for _ in range(2):
        got = worker.run(check, Child(), Concrete())
        assert [*map(type, got)] == [Child, Further, Concrete]
assert Base.count == 1 and Abstract.made == ["k"] and Base.__subclasses__() == [Child]
print("ok")
"""
    assert run_script(HEADER + text, tmp_path) == "ok\n"


@row("type variables and `NewType`s of `__main__`")
def test_type_variables_are_the_same_each_time(tmp_path):
    text = """
import typing
T = typing.TypeVar("T", bound=int, covariant=True)
S = typing.TypeVar("S", int, str)
P = typing.ParamSpec("P")
U = typing.NewType("U", int)
class Box(typing.Generic[T]): ...
class Named(typing.NamedTuple):
    a: int
def check(t, box):
    assert t is T and T.__bound__ is int and T.__covariant__ and S.__constraints__ == (int, str)
    assert Box.__parameters__ == (T,) and type(box) is Box and Named(1)._fields == ("a",)
    return t, S, P, U.__module__
with BareWorker() as worker:
    for _ in range(2):
        t, s, p, module = worker.run(check, T, Box())
        assert t is T and s is S and p is P and module == "__main__"
if sys.version_info >= (3, 13):
    D = typing.TypeVar("D", default=str, infer_variance=True)
    with BareWorker() as worker:
        assert worker.run(lambda d: (d.__default__, d.__infer_variance__), D) == (str, True)
print("ok")
"""
    assert run_script(HEADER + text, tmp_path) == "ok\n"


@row("global variables bound to `object()` or to an instance without state")
def test_sentinels_can_be_compared_by_identity(tmp_path):
    text = """
import dataclasses, threading
MISSING = object()
class Unset:
    def __repr__(self):
        return "UNSET"
UNSET = Unset()
def first(x=MISSING):
    return x is MISSING
def second(y, x=MISSING, *, z=UNSET):
    return x is MISSING and z is UNSET
class Store:
    default = UNSET
    def get(self, default=MISSING):
        return default is MISSING and self.default is UNSET
def give():
    return MISSING, UNSET, lambda: MISSING
def field(x=dataclasses.KW_ONLY):
    return x is dataclasses.KW_ONLY
with BareWorker() as worker:
    assert worker.run(first) and worker.run(second, 1) and worker.run(Store().get)
    assert worker.run(field) and worker.run(lambda x: x is UNSET, UNSET)
    missing, unset, function = worker.run(give)[0], *worker.run(give)[1:]
    assert unset is UNSET and function() is MISSING
    old = MISSING
    MISSING = object()
    assert worker.run(first) is False and worker.run(lambda x=MISSING: x is MISSING)
print("ok")
"""
    assert run_script(HEADER + text, tmp_path) == "ok\n"


@row("default arguments")
def test_default_arguments_are_made_once_in_the_worker(tmp_path):
    text = """
def add(n, found=[]):
    found.append(n)
    return list(found)
with BareWorker() as worker:
    print(worker.run(add, 1), worker.run(add, 2), add(3))
"""
    assert run_script(HEADER + text, tmp_path) == "[1] [1, 2] [3]\n"


@row("global variables used by functions of `__main__`")
def test_a_function_has_the_variables_of_the_time_it_was_sent(tmp_path):
    text = """
value, changed = 1, [1]
def read():
    return value, changed
with BareWorker() as worker:
    before = worker.run(read)
    value = 2
    changed.append(2)
    print(before, worker.run(read))
"""
    assert run_script(HEADER + text, tmp_path) == "(1, [1]) (2, [1])\n"


@row("locks, queues and `threading.local` in global variables of `__main__`")
def test_what_threads_share_in_a_script_is_new_in_the_worker(tmp_path):
    text = """
import queue, threading
lock, local, jobs = threading.Lock(), threading.local(), queue.Queue(3)
lock.acquire()
local.x = 1
jobs.put(1)
def check():
    return lock.locked(), hasattr(local, "x"), jobs.maxsize, jobs.qsize()
with BareWorker() as worker:
    print(worker.run(check))
"""
    assert run_script(HEADER + text, tmp_path) == "(False, False, 3, 0)\n"


@row("functions with `lru_cache` of `__main__`")
def test_a_cache_is_the_workers_own(tmp_path):
    text = """
import functools
@functools.lru_cache(maxsize=7)
def square(n):
    return n * n
square.unit = "cm"
square(1)
def check():
    return square.cache_info().currsize, square.cache_info().maxsize, square(3), square.unit
with BareWorker() as worker:
    print(worker.run(check), square.cache_info().currsize)
"""
    assert run_script(HEADER + text, tmp_path) == "(0, 7, 9, 'cm') 1\n"
