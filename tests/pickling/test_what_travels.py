"""What arrives as itself, as a copy, by name, or is refused: values. See docs/what-travels.md."""

import abc
import asyncio
import contextvars
import ctypes
import functools
import io
import logging
import mmap
import queue
import sys
import tempfile
import threading
import types
import weakref
from collections import OrderedDict

import pytest
from bare_worker import BareWorker, run_script
from manyhands._pickling import codec
from travel_rows import row

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def worker():
    with BareWorker() as made:
        assert made.run(len, "its name is that of a worker from here on") > 0
        yield made


def is_there(obj):
    """Whether `obj` is what its name means in this process."""
    return getattr(sys.modules[obj.__module__], obj.__qualname__) is obj


def back(obj):
    return obj


@row("functions and classes of an importable module")
@pytest.mark.parametrize("obj", [is_there, OrderedDict, functools.partial])
def test_what_a_module_defines_is_the_modules_own_there(worker, obj):
    assert worker.run(is_there, obj)
    assert worker.run(back, obj) is obj


@row("modules")
def test_a_module_is_imported_there_under_the_name_it_is_known_by(worker):
    assert worker.run(lambda module: module is sys.modules["xml.dom"], __import__("xml.dom").dom)
    # Its __name__ is another one.
    assert worker.run(back, sys.modules["_collections_abc"]) is sys.modules["_collections_abc"]


@row("`sys.stdout`, `sys.stderr`")
def test_the_standard_streams_are_those_of_the_reader(tmp_path):
    text = """
import sys
from bare_worker import BareWorker
with BareWorker() as worker:
    check = lambda out, err: (out is sys.stdout, err is sys.stderr)
    print(worker.run(check, sys.stdout, sys.stderr))
    print(worker.run(lambda: sys.stdout) is sys.stdout)
"""
    assert run_script(text, tmp_path) == "(True, True)\nTrue\n"


@row("loggers of `logging.getLogger`")
@pytest.mark.parametrize("name", ["a.b", None])
def test_a_logger_is_the_one_of_its_name(worker, name):
    check = lambda got, name: got is logging.getLogger(name)  # noqa: E731 - by value on purpose
    assert worker.run(check, logging.getLogger(name), name)


@row("`None`, `...`, `NotImplemented`, classes of the interpreter")
def test_singletons_are_themselves(worker):
    singletons = (None, ..., NotImplemented, True, type(None), type(...), types.FunctionType)
    mine = worker.run(lambda *got: got, *singletons)
    assert all(a is b for a, b in zip(mine, singletons, strict=True))
    assert worker.run(lambda n, e, i: (n is None, e is ..., i is NotImplemented), *singletons[:3])


@row("partial objects and bound methods")
def test_a_bound_method_is_bound_to_a_copy(worker):
    numbers = [1]
    assert worker.run(lambda append: append(2), numbers.append) is None
    assert worker.run(lambda call: call(), functools.partial(sum, numbers)) == 1
    assert numbers == [1]


@row("`io.StringIO` and `io.BytesIO`")
def test_a_file_in_memory_is_copied_at_its_position(worker):
    text, data = io.StringIO("one two"), io.BytesIO(b"one two")
    text.seek(4), data.seek(4)
    assert worker.run(lambda text, data: (text.read(), data.read()), text, data) == ("two", b"two")
    assert text.tell() == data.tell() == 4


@row("`memoryview`")
@pytest.mark.parametrize(
    "view",
    [
        memoryview(b"read only"),
        memoryview(bytearray(b"written")),
        memoryview(bytearray(range(24))).cast("i"),
        memoryview(bytes(range(24))).cast("B", (2, 3, 4)),
        memoryview(bytes(8)).cast("d", ()),
        memoryview(bytearray(range(10)))[::3],
        memoryview(b""),
        memoryview(bytes(200_000)),
    ],
    ids=lambda view: f"{view.format}{view.shape}",
)
def test_a_memoryview_arrives_as_one_of_the_same_format_shape_and_rights(worker, view):
    describe = lambda v: (v.format, v.shape, v.readonly, v.tobytes())  # noqa: E731
    assert worker.run(describe, view) == describe(view)
    got = worker.run(back, view)
    assert type(got) is memoryview and got == view and got.readonly == view.readonly


@row("`memoryview`")
def test_a_memoryview_that_no_bytes_can_become_is_refused():
    big_endian = ctypes.c_int16.__ctype_be__(1)
    # Released here: early 3.12 crash over a view that goes with the frames of an exception.
    refused = pytest.raises(Exception, match=r"a memoryview of format '>h'.* send bytes\(view\)")
    with memoryview(big_endian) as view, refused:
        codec.dumps_call((view,), {}, None)


@row("views of dictionaries")
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_views_of_a_dictionary_show_the_same(worker, kind):
    mapping = kind(b=1, a=[2])
    for view in (mapping.keys(), mapping.values(), mapping.items()):
        got = worker.run(back, view)
        assert type(got) is type(view) and list(got) == list(view)


def test_views_of_a_dictionary_show_the_same_where_managers_are_in_use(tmp_path):
    source = """
import multiprocessing.managers
from manyhands.futures import ProcessPoolExecutor

def back(view):
    return view, type(view).__name__

if __name__ == "__main__":
    sent = {"b": 1}.items()
    for method in ("template", "fork"):
        with ProcessPoolExecutor(1, mp_context=method) as executor:
            got, seen = executor.submit(back, sent).result(60)
        assert type(got) is type(sent) and seen == "dict_items", (got, seen)
        assert list(got) == [("b", 1)]
"""
    run_script(source, tmp_path)


@row("`types.MappingProxyType`")
def test_a_read_only_mapping_shows_a_copy_of_the_same_mapping(worker):
    proxy = types.MappingProxyType(OrderedDict(b=1, a=2))
    assert worker.run(repr, proxy) == repr(proxy)
    mapping = {}
    shown, same = worker.run(
        lambda p, m: (m.update(new=1), p, m)[1:], types.MappingProxyType(mapping), mapping
    )
    assert shown == same == {"new": 1} and mapping == {}


@row("iterators over containers")
def test_an_iterator_arrives_with_what_is_left_of_it(worker):
    numbers = iter([1, 2, 3])
    next(numbers)
    assert worker.run(list, numbers) == [2, 3]
    assert list(numbers) == [2, 3]


@row("code objects")
def test_code_keeps_its_file_and_lines(worker):
    code = test_code_keeps_its_file_and_lines.__code__
    got = worker.run(back, code)
    assert got == code and got.co_filename == __file__ and got is not code
    assert list(got.co_lines()) == list(code.co_lines())


@row("code objects")
@pytest.mark.parametrize("dash_m", [False, True])
def test_the_traceback_of_a_task_of_a_script_shows_file_line_and_source(tmp_path, dash_m):
    text = """
import traceback, logging
from bare_worker import BareWorker
def inner(x): return 1 / x  # the source
class Plate:
    def wash(self):
        return (lambda: inner(0))()  # of a method
def where():
    place = logging.getLogger().findCaller()[:2]
    return logging.getLogger().makeRecord("", 1, *place, "", (), None).filename
with BareWorker() as worker:
    try:
        worker.run(Plate.wash, None)
    except ZeroDivisionError as error:
        print("".join(traceback.format_exception(error)))
    print(worker.run(where))
"""
    command = ["-m", "script"] if dash_m else []
    out = run_script(text, tmp_path, command=command)
    assert "return 1 / x  # the source" in out and "# of a method" in out
    assert 'script.py", line 4, in inner' in out and "<dynamic-code>" not in out
    assert out.splitlines()[-1] == "script.py"


@row("functions that share a variable of a function around them")
def test_functions_sent_together_share_their_variable(worker):
    def counter():
        n = 0

        def bump():
            nonlocal n
            n += 1
            return bump

        return bump, lambda: n

    def check(bump, read):
        bump()()
        return read()

    bump, read = counter()
    assert worker.run(check, bump, read) == 2
    assert read() == 0
    cells = worker.run(lambda f, cell: f.__closure__[0] is cell, read, read.__closure__[0])
    assert cells


@row("functions that share a variable of a function around them")
def test_a_recursive_nested_function_and_an_empty_variable_travel(worker):
    def recursive(n):
        return 1 if n < 2 else n * recursive(n - 1)

    def unset():
        return late

    def check(call):
        try:
            call()
        except NameError:
            return "still unset"

    assert worker.run(recursive, 5) == 120
    assert worker.run(check, unset) == "still unset"
    late = 1
    assert worker.run(unset) == late


@row("properties, static and class methods, also of derived classes")
def test_descriptors_of_derived_classes_keep_what_they_are(worker):
    class Loud(property):
        def __init__(self, fget, volume=11):
            super().__init__(fget)
            self.volume = volume

    class Marked(staticmethod):
        pass

    marked = Marked(lambda: "static")
    marked.mark = "mark"

    class Bell:
        ring = Loud(lambda self: "ding", 12)
        silent = marked
        __slots__ = ("rope",)

        @abc.abstractmethod
        def pull(self): ...

    def check(cls):
        ring, silent = vars(cls)["ring"], vars(cls)["silent"]
        return ring.volume, cls().ring, cls.silent(), silent.mark, cls.pull.__isabstractmethod__

    assert worker.run(check, Bell) == (12, "ding", "static", "mark", True)
    assert worker.run(back, Bell.rope) is Bell.rope
    slot = vars(Bell)["rope"]
    assert worker.run(lambda slot, cls: slot is vars(cls)["rope"], slot, Bell)


@row("modules made by hand")
def test_a_module_made_by_hand_and_its_functions_have_the_same_variables(worker):
    made = types.ModuleType("made_by_hand", "its text")
    exec("n = 1\ndef read(): return n\ndef other(): return read", made.__dict__)

    def check(read, module):
        module.n = 7
        return read(), module.read(), module.other() is module.read is read, module.__doc__

    assert worker.run(check, made.read, made) == (7, 7, True, "its text")
    assert made.n == 1


@row("`weakref.WeakSet` and `weakref.WeakKeyDictionary`")
def test_weak_containers_have_the_members_that_something_holds(worker):
    a, b = (types.SimpleNamespace.__new__(Held) for _ in range(2))
    held, values = weakref.WeakSet([a, b]), weakref.WeakKeyDictionary({a: 1, b: 2})
    assert worker.run(lambda a, s, d: (list(s) == [a], dict(d) == {a: 1}), a, held, values)


class Held(types.SimpleNamespace):
    __hash__ = object.__hash__
    __eq__ = object.__eq__


@row("`weakref.proxy`")
def test_a_weak_proxy_arrives_as_the_object(worker):
    held = Held(n=3)
    assert worker.run(lambda got: (type(got).__name__, got.n), weakref.proxy(held)) == ("Held", 3)


@row("sockets and connections")
def test_a_socket_is_duplicated_once_multiprocessing_can(tmp_path):
    text = """
import socket, multiprocessing.reduction
from manyhands.futures import ProcessPoolExecutor
ours, theirs = socket.socketpair()
with ProcessPoolExecutor(1) as pool:
    pool.submit(lambda s: s.send(b"hi"), theirs).result()
print(ours.recv(2))
"""
    assert run_script(text, tmp_path) == "b'hi'\n"


# --- refused ------------------------------------------------------------------------------------


def refused(obj):
    """The message of the refusal, as an argument and as a result."""
    kinds = (TypeError, codec.pickle.PicklingError)
    with pytest.raises(kinds) as result:
        codec.dumps_result({"in": [obj]}, None)
    assert str(result.value).startswith("cannot pickle the result of the task, key 'in', item [0]")
    with pytest.raises(kinds) as argument:
        codec.dumps_call((1,), {"x": obj}, None)
    assert str(argument.value).startswith("cannot pickle keyword argument 'x'")
    return str(argument.value)


@row("open files, also temporary ones and `sys.stdin`")
@pytest.mark.parametrize("mode", ["r", "w", "a", "w+", "r+", "rb", "wb", "r+b"])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_an_open_file_is_refused_with_advice(tmp_path, mode, buffering):
    if buffering == 0 and "b" not in mode:
        mode += "b"
    path = tmp_path / "file.txt"
    path.write_text("text")
    with path.open(mode, buffering) as file:
        assert "send the file's path and open it in the worker" in refused(file)
    assert "send the file's path" in refused(file)


@row("open files, also temporary ones and `sys.stdin`")
@pytest.mark.parametrize(
    "make",
    [
        functools.partial(tempfile.NamedTemporaryFile, "w+"),
        functools.partial(tempfile.NamedTemporaryFile, "wb"),
        functools.partial(tempfile.TemporaryFile, "w+"),
        functools.partial(tempfile.SpooledTemporaryFile, mode="w+"),
        lambda: io.TextIOWrapper(io.BytesIO(b"wrapped")),
        functools.partial(open, 0, closefd=False),
    ],
    ids=["named", "named binary", "temporary", "spooled", "wrapper", "stdin"],
)
def test_a_temporary_file_is_refused_with_advice(make):
    with make() as file:
        assert "send the file's path and open it in the worker" in refused(file)


@row("open files, also temporary ones and `sys.stdin`")
def test_a_file_that_a_function_uses_is_named_with_its_place(tmp_path):
    path = tmp_path / "log.txt"
    with path.open("w+") as log:
        with pytest.raises(Exception, match=r"variable 'log' captured by function .*an open file"):
            codec.dumps_function(lambda: log.write("x"))
        assert path.read_text() == ""


@row("loggers that `logging.getLogger` does not know, and handlers")
def test_a_logger_that_nobody_else_can_find_is_refused():
    assert "call logging.getLogger in the worker" in refused(logging.Logger("made by hand"))
    assert "cannot pickle" in refused(logging.StreamHandler())


@row("generators and coroutines")
def test_generators_and_coroutines_are_refused_with_advice():
    async def prepare():
        yield

    coroutine = asyncio.sleep(0)
    assert "send a list of its items" in refused(n for n in [1])
    assert "send a list of its items" in refused(prepare())
    assert "send the function that makes it" in refused(coroutine)
    coroutine.close()


@row("locks, conditions, events, threads and queues of threads")
@pytest.mark.parametrize(
    "make",
    [
        threading.Lock,
        threading.RLock,
        threading.Condition,
        threading.Event,
        threading.Thread,
        threading.Semaphore,
        queue.Queue,
        queue.SimpleQueue,
    ],
)
def test_what_threads_wait_for_is_refused(make):
    assert "pass data that can be pickled" in refused(make())


@row("`threading.local`, context variables and contexts")
def test_what_belongs_to_a_thread_or_context_is_refused():
    variable = contextvars.ContextVar("variable")
    for obj in (threading.local(), variable, contextvars.copy_context(), variable.set(1)):
        assert "pass data that can be pickled, or " in refused(obj)


@row("weak references")
def test_a_weak_reference_is_refused_with_advice():
    held = Held()
    for obj in (weakref.ref(held), weakref.WeakValueDictionary(a=held)):
        assert "send the object that it refers to" in refused(obj)


@row("frames and tracebacks")
def test_frames_and_tracebacks_are_refused_with_advice():
    try:
        raise ValueError
    except ValueError as error:
        traceback = error.__traceback__
    assert "send the text of the traceback" in refused(traceback)
    assert "send the text of the traceback" in refused(sys._getframe())


@row("memory maps")
def test_a_memory_map_is_refused_with_advice():
    with mmap.mmap(-1, 4096) as mapped:
        assert "open it in the worker" in refused(mapped)
