"""Functions and classes that workers cannot import: of scripts, the REPL, and nested ones."""

import functools
import gc
import os
import pickle
import sys
import weakref

import pytest
from bare_worker import BareWorker, run_script
from manyhands._pickling import codec

pytestmark = pytest.mark.timeout(120)

CLASSES = """
import collections, dataclasses, enum, sys, typing
from abc import ABC, abstractmethod
from bare_worker import BareWorker

class Color(enum.Enum):
    RED = 1
    GREEN = 2

@dataclasses.dataclass
class Point:
    x: int
    y: int = 0
    tags: list = dataclasses.field(default_factory=list)

@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    x: int

Pair = collections.namedtuple("Pair", "a b")

class Typed(typing.NamedTuple):
    a: int
    b: str = "b"

class Base(ABC):
    @abstractmethod
    def area(self): ...

class Square(Base):
    made = 0
    def __init__(self, side):
        self.side = side
        type(self).made += 1
    def area(self):
        return super().__sizeof__() and self.side ** 2
    @classmethod
    def unit(cls):
        return cls(1)
    @property
    def half(self):
        return self.side / 2

def back(x):
    return x

def check(x):
    assert isinstance(x["point"], Point) and dataclasses.fields(x["point"])[1].default == 0
    assert dataclasses.replace(x["point"], x=9).x == 9
    assert [f.name for f in dataclasses.fields(Point)] == ["x", "y", "tags"]
    assert dataclasses.fields(Point)[0].default is dataclasses.MISSING
    assert x["color"] is Color.RED and isinstance(x["square"], Square)
    assert x["square"].area() == 9 and x["square"].half == 1.5
    assert x["pair"].a == 1 and x["slotted"].x == 5
    return "__main__" in sys.modules and Square.unit()

values = {
    "point": Point(1, 2, ["t"]), "color": Color.RED, "pair": Pair(1, 2), "typed": Typed(3),
    "square": Square(3), "slotted": Slotted(5), "class": Square,
}
area = Square.area
with BareWorker() as worker:
    for _ in range(2):
        same = worker.run(back, values)
        assert {k: type(v) for k, v in same.items()} == {k: type(v) for k, v in values.items()}
        assert same["color"] is Color.RED and same["class"] is Square
        assert same["point"] == values["point"] and same["slotted"] == values["slotted"]
        assert isinstance(same["pair"], Pair) and same["typed"] == Typed(3)
        unit = worker.run(check, values)
        assert type(unit) is Square and unit.area() == 1
    assert Square.area is area and Square.made == 1, Square.made
    made = worker.run(lambda: Square.made)
    assert made == 3, made
print("ok")
"""


def test_objects_of_main_classes_come_back_as_objects_of_the_same_classes(tmp_path):
    assert run_script(CLASSES, tmp_path) == "ok\n"


def test_a_script_without_a_main_guard_is_not_run_again_by_its_workers(tmp_path):
    text = """
from bare_worker import BareWorker
print("once")
offset = 10
def helper(x):
    return x + offset
def fact(n):
    return 1 if n < 2 else n * fact(n - 1)
def work(x):
    return helper(x) + fact(3)
with BareWorker() as worker:
    print(worker.run(work, 1), worker.run(lambda x: work(x), 2))
"""
    assert run_script(text, tmp_path) == "once\n17 18\n"


def test_what_an_initializer_stores_in_a_global_is_seen_by_tasks(tmp_path):
    text = """
from bare_worker import BareWorker
config = None
cache = {}
def init(value):
    global config
    config = value
    cache["filled"] = True
def work():
    return config, cache
def count():
    global n
    n += 1
    return n
n = 0
with BareWorker() as worker:
    worker.run(init, 5)
    print(worker.run(work), worker.run(count), worker.run(count))
    cache = {"new": 1}
    config = "parent"
    print(worker.run(work), cache, n)
"""
    out = run_script(text, tmp_path)
    # The worker's own `config` stays; `cache`, which only the parent bound, follows the parent.
    assert out == "(5, {'filled': True}) 1 2\n(5, {'new': 1}) {'new': 1} 0\n"


def test_locks_in_globals_of_main_are_new_locks_in_the_worker(tmp_path):
    text = """
import threading
from bare_worker import BareWorker
lock, rlock, event = threading.Lock(), threading.RLock(), threading.Event()
lock.acquire()
def work():
    with lock, rlock:
        return event.is_set()
def same():
    return lock.locked()
with BareWorker() as worker:
    print(worker.run(work), worker.run(lambda: lock.acquire()), worker.run(same))
"""
    assert run_script(text, tmp_path) == "False True True\n"


def test_caches_and_other_objects_that_know_only_their_name_are_sent_by_value(tmp_path):
    text = """
import functools, queue, threading, typing
from bare_worker import BareWorker
UserId = typing.NewType("UserId", int)
jobs, slots = queue.Queue(3), threading.BoundedSemaphore(2)
@functools.lru_cache(maxsize=7)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
@functools.singledispatch
def show(x):
    return "any"
@show.register
def _(x: int):
    return "int"
show(1)
class A:
    @functools.cached_property
    def slow(self):
        return 5
    @functools.lru_cache
    def cached(self, x):
        return x * 2
    @staticmethod
    @functools.cache
    def s(x):
        return x
def work(a: UserId):
    with slots:
        jobs.put(1)
    return fib(50), fib.cache_parameters()["maxsize"], show(1), show(""), UserId(3), jobs.maxsize
def use(a):
    return a.slow, a.cached(2), A.s(3)
with BareWorker() as worker:
    print(worker.run(work, 1), worker.run(use, A()), worker.run(fib, 10), jobs.qsize())
"""
    out = run_script(text, tmp_path)
    assert out == "(12586269025, 7, 'int', 'any', 3, 3) (5, 4, 3) 55 0\n"


def test_a_class_made_in_a_function_comes_back_as_itself_and_is_not_kept():
    def made():
        class Local:
            pass

        with BareWorker() as worker:
            back = worker.run(lambda x: x, Local())
        assert type(back) is Local
        return weakref.ref(Local)

    reference = made()
    gc.collect()
    assert reference() is None


def test_code_typed_at_the_prompt_works(tmp_path):
    text = """
from bare_worker import BareWorker
class A:
    def f(self): return 4

def double(a): return a, a.f() * 2

w = BareWorker()
a, b = w.run(double, A())
print("typed", isinstance(a, A), b)
w.kill()
"""
    out = run_script("", tmp_path, command=["-i", "-q"], stdin=text)
    assert "typed True 8" in out


def test_code_of_an_ipython_session_works(tmp_path):
    pytest.importorskip("IPython")
    text = """
from bare_worker import BareWorker
class A:
    def f(self): return 4
def double(a): return a, a.f() * 2
w = BareWorker()
a, b = w.run(double, A())
print("typed", isinstance(a, A), b)
w.kill()
"""
    (tmp_path / "cell.ipy").write_text(text)
    out = run_script("", tmp_path, command=["-m", "IPython", "--no-banner", "cell.ipy"])
    assert "typed True 8" in out


def test_a_module_run_with_dash_m_works(tmp_path):
    package = tmp_path / "apackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("value = 7\n")
    (package / "prog.py").write_text(
        "from bare_worker import BareWorker\n"
        "def work():\n"
        "    from .other import value\n"
        "    return value, __name__\n"
        "with BareWorker() as worker:\n"
        "    print(worker.run(work))\n"
    )
    out = run_script("", tmp_path, command=["-m", "apackage.prog"])
    assert out == "(7, '__main__')\n"


def test_nested_functions_use_the_globals_of_their_importable_module(tmp_path):
    (tmp_path / "amodule.py").write_text(
        "import threading\n"
        "lock = threading.Lock()\n"
        "count = 0\n"
        "def make(step):\n"
        "    def bump():\n"
        "        global count\n"
        "        with lock:\n"
        "            count += step\n"
        "        return count\n"
        "    return bump\n"
        "def read():\n"
        "    return count\n"
    )
    text = """
from bare_worker import BareWorker
import amodule
with BareWorker() as worker:
    print(worker.run(amodule.make(3)), worker.run(amodule.read), amodule.count)
"""
    assert run_script(text, tmp_path) == "3 3 0\n"


def test_the_parents_variables_are_not_rebound_by_what_workers_return(tmp_path):
    text = """
from bare_worker import BareWorker
state = "parent"
def work():
    global state
    state = "worker"
    return lambda: state
with BareWorker() as worker:
    returned = worker.run(work)
    print(state, returned())
"""
    assert run_script(text, tmp_path) == "parent parent\n"


def test_a_worker_with_a_pool_of_its_own_passes_classes_on(tmp_path):
    text = """
from bare_worker import BareWorker
class A: pass
def back(a):
    return a
def nested(a):
    from bare_worker import BareWorker
    with BareWorker() as inner:
        b = inner.run(back, a)
    assert type(b) is A
    return b
with BareWorker() as worker:
    print(type(worker.run(nested, A())) is A)
"""
    assert run_script(text, tmp_path) == "True\n"


def test_modules_registered_by_value_are_sent_by_value(tmp_path):
    (tmp_path / "plugin.py").write_text("y = 2\ndef f(x):\n    return x * y\n")
    text = """
import sys, cloudpickle, plugin
from bare_worker import BareWorker
from manyhands._pickling import codec
from manyhands._worker import parent_state
cloudpickle.register_pickle_by_value(plugin)
data = parent_state.describe_parent()
data = data._replace(sys_path=[p for p in sys.path if p != sys.path[0]])
with BareWorker(prepare=data) as worker:
    print(worker.run(plugin.f, 4), worker.run(lambda f: f(5), plugin.f))
"""
    assert run_script(text, tmp_path) == "8 10\n"


def test_importable_functions_travel_by_name():
    for fn in (os.path.join, len, dict, functools.reduce):
        data, guard = codec.dumps_function(fn)
        assert guard is None and len(data) < 80
        assert codec.loads(data) is fn


def test_large_buffers_travel_out_of_band_by_value_too():
    buffers = []
    big = pickle.PickleBuffer(bytearray(100_000))
    data = codec.dumps((lambda: None, big), buffers)
    assert len(buffers) == 1 and len(data) < 5000
    assert memoryview(codec.loads(data, buffers)[1]).nbytes == 100_000


def test_numpy_arrays_travel_out_of_band():
    np = pytest.importorskip("numpy")
    buffers = []
    data = codec.dumps((lambda: None, np.arange(10_000)), buffers)
    assert len(buffers) == 1
    assert codec.loads(data, buffers)[1].sum() == 49_995_000


def test_only_functions_and_classes_are_cached():
    assert all(map(codec.is_cacheable, (len, os.getpid, dict, lambda: 1, BareWorker)))
    instance_methods = ([].append, BareWorker.run.__get__(object()), functools.partial(len))
    assert not any(map(codec.is_cacheable, instance_methods))


def test_a_guard_notices_a_rebound_closure_variable():
    value = 1

    def read():
        return value

    _, guard = codec.dumps_function(read)
    assert codec.guard_holds(read, guard)
    value = 2
    assert not codec.guard_holds(read, guard)


def test_a_guard_notices_a_rebound_default_argument():
    def read(x=1):
        return x

    _, guard = codec.dumps_function(read)
    read.__defaults__ = (2,)
    assert not codec.guard_holds(read, guard)


def test_a_guard_notices_a_variable_that_became_none_when_its_object_died():
    class Thing:
        pass

    thing = Thing()

    def read():
        return thing

    _, guard = codec.dumps_function(read)
    thing = None
    assert not codec.guard_holds(read, guard)


def test_a_guard_does_not_keep_a_recursive_function_alive():
    def made():
        def recurse(n):
            return n and recurse(n - 1)

        _, guard = codec.dumps_function(recurse)
        assert codec.guard_holds(recurse, guard)
        return guard, weakref.ref(recurse)

    _guard, reference = made()
    gc.collect()
    assert reference() is None


def test_a_guard_notices_rebound_globals_of_main_and_of_its_callees(tmp_path):
    text = """
from manyhands._pickling import codec
a = b = 1
def callee(): return b
def caller(): return a, callee(), [a for _ in "x"], (lambda: a)()
_, guard = codec.dumps_function(caller)
print(codec.guard_holds(caller, guard))
b = 2
print(codec.guard_holds(caller, guard))
_, guard = codec.dumps_function(caller)
a = 2
print(codec.guard_holds(caller, guard))
_, guard = codec.dumps_function(caller)
print(codec.guard_holds(caller, guard))
def callee(): return b
print(codec.guard_holds(caller, guard))
"""
    assert run_script(text, tmp_path).split() == ["True", "False", "False", "True", "False"]


def test_the_interpreter_of_the_harness_is_this_one():
    with BareWorker() as worker:
        assert worker.run(sys.version.__class__, 1) == "1"
