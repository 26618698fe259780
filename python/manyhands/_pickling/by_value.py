"""Pickling by value: functions and classes that a worker cannot import.

A worker never imports the user's ``__main__``, so that scripts without a guard, notebooks and the
REPL work. What lives there, and lambdas, closures and nested classes anywhere, is therefore sent
by value. cloudpickle does most of the work; this module changes it where a pool has a memory that a
single pickle has not (`faithful`, `class_shapes` and `sentinels` change it where what arrives
would be something else than what was sent):

* Functions of ``__main__`` share one namespace in a worker, the worker's own ``__main__``: what an
  ``initializer`` stores in a global variable is seen by the tasks.
* Functions of an importable module (a lambda or a nested function) use that module's globals in
  the worker, imported there; nothing of the module is copied.
* Functions that share a variable of a function around them, and are sent together, share it there.
* A class is completed once per process. An instance sent to a worker and returned is of the very
  class the parent has, and the parent's class is never touched by what arrives.
* Locks and thread queues in global variables of ``__main__`` arrive as new ones of the worker,
  which is what importing ``__main__`` again (the standard ``spawn``) would have given.

Guarantees:
    a variable the worker has rebound itself is never overwritten by one that arrives later; a
    variable whose value did not change in the parent arrives once, so mutations that the worker
    made in place stay; what arrives in the parent never rebinds a variable of the parent.

Does not do: notice that a value was changed in place in the parent after it was sent.
"""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import os
import queue
import sys
import threading
import types
import typing
import weakref
from collections import ChainMap
from collections.abc import Callable
from typing import Any

from cloudpickle import cloudpickle as _cp

from manyhands._pickling import class_shapes, faithful, sentinels

MAIN = "__main__"
_MISSING = object()


def dumps(obj: Any, buffers: list[Any] | None = None, to_parent: bool = False) -> bytes:
    """Pickle `obj`, by value whatever the other side cannot import (protocol 5).

    Args:
        obj: anything.
        buffers: out-of-band buffers are appended to this list; None keeps them in the pickle.
        to_parent: the reader is the process that gave this worker its classes; they are sent back
            as a short name instead of by value.

    Raises: whatever pickling raises; a too deep object is a ``pickle.PicklingError``.

    >>> import pickle
    >>> pickle.loads(dumps(lambda x: x + 1))(1)
    2
    """
    with io.BytesIO() as file:
        callback = None if buffers is None else buffers.append
        ByValuePickler(file, callback, to_parent).dump(obj)
        return file.getvalue()


def by_reference(obj: Any) -> bool:
    """Whether a worker can import the function or class `obj` by its name."""
    return bool(_cp._should_pickle_by_reference(obj))


def referenced_globals(fn: types.FunctionType) -> list[str]:
    """Names of the global variables which the code of `fn` (and code nested in it) uses."""
    return list(_cp._extract_code_globals(fn.__code__))


def home(fn: types.FunctionType) -> str | None:
    """Name of the module whose namespace `fn` shall use in a worker; None if it takes its own."""
    name = fn.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or getattr(module, "__dict__", None) is not fn.__globals__:
        return None
    if name == MAIN:
        return MAIN
    # A module made by hand has no spec: nobody else could import it.
    if getattr(module, "__spec__", None) is None or _cp._is_registered_pickle_by_value(module):
        return None
    return name


class ByValuePickler(_cp.Pickler):  # type: ignore[misc]
    """cloudpickle's pickler with the pool's own rules for functions and classes."""

    def __init__(
        self, file: Any, buffer_callback: Callable[..., Any] | None, to_parent: bool
    ) -> None:
        # Before the C initializer, which looks it up once.
        self.dispatch_table = _dispatch_table()
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self._to_parent = to_parent
        # By id: what stands in the pickle for a cell, or for a namespace, before it is filled. The
        # originals are kept, so that no id comes to mean something else.
        self._bare: dict[int, tuple[Any, _Anew]] = {}
        self._filled: set[int] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type):
            return self._reduce_class(obj)
        if isinstance(obj, types.FunctionType):
            return self._function_reduce(obj)
        reduce = _BY_BASE.get(type(obj)) or _reducer_by_base(obj)
        if reduce is not None:
            return reduce(self, obj)
        sentinel = sentinels.reduced(obj)
        return NotImplemented if sentinel is None else sentinel

    def _reduce_named(self, obj: Any) -> Any:
        return NotImplemented if by_reference_anywhere(obj) else _reduce_named(obj)

    def _reduce_cell(self, cell: types.CellType) -> Any:
        if not self._is_to_be_filled(cell):
            return _itself, (self._bare_cell(cell),)
        return _itself, (self._bare_cell(cell),), cell.cell_contents, None, None, fill_cell

    def _reduce_module(self, module: types.ModuleType) -> Any:
        name = _imported_as(module)
        if name is not None and not _cp._is_registered_pickle_by_value(module):
            return _cp.subimport, (name,)
        state = {key: value for key, value in vars(module).items() if key != "__builtins__"}
        return _itself, (self._bare_module(vars(module)),), state, None, None, fill_module

    def _bare_cell(self, cell: types.CellType) -> _Anew:
        return self._bare.setdefault(id(cell), (cell, _Anew(types.CellType)))[1]

    def _bare_module(self, namespace: dict[str, Any]) -> _Anew:
        """Whose namespace functions use that have `namespace`: of no module that is imported."""
        made = _Anew(types.ModuleType, str(namespace.get("__name__", "<no module>")))
        return self._bare.setdefault(id(namespace), (namespace, made))[1]

    def _reduce_class(self, cls: type) -> Any:
        reduced = _cp._class_reduce(cls) if _is_known_by_name(cls) else None
        if reduced is not None:
            return reduced
        tracker_id = _cp._get_or_create_tracker_id(cls)
        if self._to_parent and cls in _from_parent and _returned_by_id(cls):
            return _class_by_id, (tracker_id,)
        if cls not in _settled:
            _settled.add(cls)
            if _returned_by_id(cls):
                _own_classes[tracker_id] = cls
        make, arguments, state = class_shapes.reduced(cls)
        annotated = class_shapes.named_in_annotations(cls) if cls.__module__ == MAIN else None
        if annotated:
            state[1]["globals"] = (_SENDER, _stamped(annotated))
        return make, arguments, state, None, None, _Completion(_SENDER)

    def _dynamic_function_reduce(self, fn: types.FunctionType) -> Any:
        module_name = home(fn)
        state, slots = _cp._function_getstate(fn)
        values = slots.pop("__globals__")
        closure = slots.pop("__closure__")
        cells = None if closure is None else tuple(map(self._bare_cell, closure))
        # Filled by the state: what is in a cell may need the function.
        slots["__closure__"] = [
            (self._bare_cell(cell), cell.cell_contents)
            for cell in closure or ()
            if self._is_to_be_filled(cell)
        ]
        if module_name == MAIN:
            slots["__globals__"] = (_SENDER, _stamped(values))
        elif module_name is None:
            names = ("__package__", "__name__", "__path__", "__file__")
            around = {name: fn.__globals__[name] for name in names if name in fn.__globals__}
            slots["__namespace__"] = {**around, **values}
        place = self._bare_module(fn.__globals__) if module_name is None else module_name
        arguments = (fn.__code__, place, cells)
        return make_function, arguments, (state, slots), None, None, set_function_state

    def _is_to_be_filled(self, cell: types.CellType) -> bool:
        if id(cell) in self._filled or _contents(cell) is _MISSING:
            return False
        self._filled.add(id(cell))
        return True


def _imported_as(module: types.ModuleType) -> str | None:
    """A name by which the module is imported: not always the one that it has."""
    name = getattr(module, "__name__", None)
    if isinstance(name, str) and sys.modules.get(name) is module:
        return name
    return next((name for name, found in [*sys.modules.items()] if found is module), None)


def _is_known_by_name(cls: type) -> bool:
    """Whether cloudpickle sends the class as a name, of a module or of its own."""
    special = (type(None), type(Ellipsis), type(NotImplemented))
    return cls in special or cls in _cp._BUILTIN_TYPE_NAMES or by_reference(cls)


def _reducer_by_base(obj: Any) -> Callable[[Any, Any], Any] | None:
    for base, reduce in _BY_BASE.items():
        if isinstance(obj, base):
            return reduce if base not in _EXACT else None
    return None


def _dispatch_table() -> ChainMap[Any, Any]:
    """cloudpickle's reducers, then multiprocessing's (sockets, connections) if it is in use."""
    reduction = sys.modules.get("multiprocessing.reduction")
    extra = reduction.ForkingPickler._extra_reducers if reduction else {}
    table = _cp.Pickler.dispatch_table
    # Once somebody has imported multiprocessing.managers, its reducers make lists of them.
    views = {view: table[view] for view in _VIEWS}
    # What the program registers with copyreg is its own decision, and goes first.
    return ChainMap(table.maps[-1], views, extra, _REDUCERS, *table.maps[:-1])


_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


# --- objects that know only their name, or that hold a lock or weak references ------------------

# Their own __reduce__ says "look my name up", which fails for __main__ in a worker.
_NAMED_BY_REDUCE = (
    functools._lru_cache_wrapper,
    typing.NewType,
    typing.ParamSpec,
    typing.TypeVarTuple,
)


def by_reference_anywhere(obj: Any) -> bool:
    """Whether `obj`, of any kind that has a qualified name, is found in an importable module."""
    name = getattr(obj, "__module__", None)
    module = sys.modules.get(name) if isinstance(name, str) and name != MAIN else None
    if module is None or getattr(module, "__spec__", None) is None:
        return False
    found: Any = module
    for part in getattr(obj, "__qualname__", obj.__name__).split("."):
        found = getattr(found, part, None)
    return found is obj


def _reduce_named(obj: Any) -> tuple[Any, ...]:
    if isinstance(obj, functools._lru_cache_wrapper):
        copied = (*functools.WRAPPER_ASSIGNMENTS, "__wrapped__", *vars(obj.__wrapped__))
        own = {name: value for name, value in vars(obj).items() if name not in copied}
        return _make_cached, (obj.__wrapped__, obj.cache_parameters()), own or None
    if isinstance(obj, typing.NewType):
        new_type: Any = obj
        names = (obj.__name__, obj.__supertype__, obj.__module__, new_type.__qualname__)
        return _make_new_type, names
    return faithful.reduce_type_variable(obj)


def _make_new_type(name: str, supertype: Any, module: str, qualname: str) -> Any:
    make: Any = typing.NewType
    made = make(name, supertype)
    made.__module__, made.__qualname__ = module, qualname
    return made


def _make_cached(fn: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """A function with an empty ``lru_cache``: each worker fills its own."""
    return functools.lru_cache(**parameters)(fn)


def _reduce_cached_property(obj: Any) -> tuple[Any, ...]:
    # It holds a lock before Python 3.12.
    return _make_cached_property, (obj.func, obj.attrname)


def _make_cached_property(fn: Callable[..., Any], name: str | None) -> Any:
    made = functools.cached_property(fn)
    made.attrname = name
    return made


_REDUCERS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    **faithful.REDUCERS,
    functools.cached_property: _reduce_cached_property,
}

# What is looked at before the tables, since classes derived from these have the same needs.
_BY_BASE: dict[type, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(_NAMED_BY_REDUCE, ByValuePickler._reduce_named),
    property: lambda _, obj: faithful.reduce_property(obj),
    staticmethod: lambda _, obj: faithful.reduce_method_wrapper(obj),
    classmethod: lambda _, obj: faithful.reduce_method_wrapper(obj),
    types.CellType: ByValuePickler._reduce_cell,
    types.ModuleType: ByValuePickler._reduce_module,
}
# A module of a class of its own knows how it is pickled, or cannot be.
_EXACT = (types.ModuleType,)


# --- functions ----------------------------------------------------------------------------------


def make_function(
    code: types.CodeType, place: str | types.ModuleType, closure: tuple[Any, ...] | None
) -> Any:
    """Unpickle a function: its shell, over the namespace of its module."""
    module = sys.modules[MAIN] if place == MAIN else place
    if isinstance(module, str):
        module = importlib.import_module(module)
    else:
        module.__dict__.setdefault("__builtins__", __builtins__)
    return types.FunctionType(code, module.__dict__, None, None, closure)


def set_function_state(fn: types.FunctionType, state: tuple[Any, ...]) -> None:
    """Unpickle a function: what it captured, its attributes, the globals that came with it."""
    attributes, slots = state
    fn.__dict__.update(attributes)
    slots.pop("_cloudpickle_submodules", None)
    arrived = slots.pop("__globals__", None)
    if arrived is not None:
        _receive_globals(*arrived)
    namespace = slots.pop("__namespace__", None)
    if namespace is not None:
        fn.__globals__.update(namespace)
    for cell, contents in slots.pop("__closure__"):
        cell.cell_contents = contents
    for name, value in slots.items():
        setattr(fn, name, value)
    if namespace is None:
        _bind(fn)


def _itself(made: Any) -> Any:
    """Unpickle what stands for an object before it is filled."""
    return made


def fill_cell(cell: types.CellType, contents: Any) -> None:
    """Unpickle a cell; one that is empty has no contents to be filled with."""
    cell.cell_contents = contents


def fill_module(module: types.ModuleType, state: dict[str, Any]) -> None:
    """Unpickle a module that was made by hand."""
    vars(module).update(state)
    vars(module).setdefault("__builtins__", __builtins__)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


# --- the shared namespace of __main__ -----------------------------------------------------------

# Who stamps what this process sends; another one after a fork.
_SENDER = os.getpid()
_parent: int | None = None
_serials = itertools.count(1)
_stamps_lock = threading.Lock()
# Sender's side: name -> (reference to the value sent last, its serial number).
_stamps: dict[str, tuple[Callable[[], Any], int]] = {}
# Receiver's side: what came from the parent last, and what a forked worker inherited.
_seen_serials: dict[str, int] = {}
_seen_values: dict[str, Any] = {}
_inherited: dict[str, Any] = {}


def accept_from(parent_pid: int | None, inherited: bool = False) -> None:
    """Let globals sent by `parent_pid` define variables of this process's ``__main__``.

    Args:
        parent_pid: the process whose pool this worker serves.
        inherited: ``__main__`` was inherited by fork: what is in it now came from the parent.
    """
    global _parent
    _parent = parent_pid
    _seen_serials.clear()
    _seen_values.clear()
    _inherited.clear()
    if inherited:
        _inherited.update(sys.modules[MAIN].__dict__)
        for name, (value, serial) in _stamps.items():
            if name in _inherited and value() is _inherited[name]:
                _seen_serials[name] = serial
                _seen_values[name] = _inherited[name]


def strong_or_weak(value: Any) -> Callable[[], Any]:
    """A reference that keeps an identity comparable: weak if possible, else strong.

    A weak one whose object is gone gives an object that is identical to nothing else: not None,
    which a variable may well be bound to next.
    """
    try:
        reference = weakref.ref(value)
    except TypeError:
        return lambda: value

    def current() -> Any:
        found = reference()
        return _MISSING if found is None else found

    current.reference = reference  # type: ignore[attr-defined]  # for the compiled check
    return current


def _stamped(values: dict[str, Any]) -> dict[str, tuple[int, int, Any]]:
    """Give each global its serial number (another one only if it was rebound) and identity."""
    return {
        name: (stamp(name, value), id(value), _portable_global(value))
        for name, value in values.items()
    }


def stamp(name: str, value: Any) -> int:
    """The serial number of the variable `name` of ``__main__`` while `value` is its value."""
    with _stamps_lock:
        known = _stamps.get(name)
        if known is None or known[0]() is not value:
            known = _stamps[name] = (strong_or_weak(value), next(_serials))
        return known[1]


def sender() -> int:
    """Who stamps what this process sends."""
    return _SENDER


def stamped_here(sender: int, name: str, serial: int, address: int) -> Any:
    """The object that `sender` has stamped so, if this is the sender, or was forked from it."""
    known = _stamps.get(name)
    if sender == _SENDER and known is not None and known[1] == serial:
        return known[0]()
    if sender == _parent:
        found = _inherited.get(name, known[0]() if known is not None else None)
        return found if id(found) == address else None
    return None


def _receive_globals(mark: int, arrived: dict[str, tuple[int, int, Any]]) -> None:
    namespace = sys.modules[MAIN].__dict__
    if mark != _parent:
        # A worker's variables never rebind those of its parent.
        for name, (_, _, value) in arrived.items():
            namespace.setdefault(name, value)
        return
    for name, (serial, identity, value) in arrived.items():
        if _is_news(namespace, name, serial, identity):
            namespace[name] = _seen_values[name] = value
        _seen_serials[name] = serial


def _bind(obj: Any) -> None:
    """Give a class or function of ``__main__`` its name here, if this process serves another.

    Whoever pickles it by name finds it then, without importing the parent's script.
    """
    name = obj.__qualname__
    if _parent is None or obj.__module__ != MAIN or not name.isidentifier():
        return
    namespace = sys.modules[MAIN].__dict__
    if name not in namespace:
        namespace[name] = _seen_values[name] = obj
        _seen_serials.setdefault(name, 0)


def _is_news(namespace: dict[str, Any], name: str, serial: int, identity: int) -> bool:
    if name not in namespace:
        # Deleted by the worker itself if it has come before.
        return _seen_serials.get(name, 0) < serial
    if name in _seen_serials:
        # The worker's own binding wins over the parent's.
        # An older one may come late: definitions are made before they are sent.
        return _seen_serials[name] < serial and namespace[name] is _seen_values.get(name, _MISSING)
    if name in _inherited:
        current = _inherited[name]
        return id(current) != identity and namespace[name] is current
    # Bound by the worker itself, e.g. in an initializer that did not come from __main__.
    return False


class _Anew:
    """Stands for an object in a pickle: unpickles as a new one, each time as the same."""

    def __init__(self, factory: Callable[..., Any], *args: Any) -> None:
        self._call = factory, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


_MADE_NEW: dict[type, Callable[[Any], _Anew]] = {
    type(threading.Lock()): lambda _: _Anew(threading.Lock),
    type(threading.RLock()): lambda _: _Anew(threading.RLock),
    threading.Condition: lambda _: _Anew(threading.Condition),
    threading.Event: lambda _: _Anew(threading.Event),
    threading.local: lambda _: _Anew(threading.local),
    threading.Semaphore: lambda old: _Anew(threading.Semaphore, old._value),
    threading.BoundedSemaphore: lambda old: _Anew(threading.BoundedSemaphore, old._initial_value),
    queue.Queue: lambda old: _Anew(queue.Queue, old.maxsize),
    queue.LifoQueue: lambda old: _Anew(queue.LifoQueue, old.maxsize),
    queue.PriorityQueue: lambda old: _Anew(queue.PriorityQueue, old.maxsize),
    queue.SimpleQueue: lambda _: _Anew(queue.SimpleQueue),
}


def _portable_global(value: Any) -> Any:
    make_stand_in = _MADE_NEW.get(type(value))
    return value if make_stand_in is None else make_stand_in(value)


def made_new(value: Any) -> bool:
    """Whether a global variable of ``__main__`` with this value arrives as a new object."""
    return type(value) in _MADE_NEW


# --- classes ------------------------------------------------------------------------------------

# Classes whose definition is complete here: their own process's, and those that have arrived.
_settled: weakref.WeakSet[type] = weakref.WeakSet()
# Classes that arrived from the parent. They go back as their tracker id.
_from_parent: weakref.WeakSet[type] = weakref.WeakSet()
# Strong: an instance may come back after the program has dropped its last use of the class.
_own_classes: dict[str, type] = {}


def _returned_by_id(cls: type) -> bool:
    """Whether instances come back with the class's id alone.

    Not for classes made inside functions: a program may make any number of them, and keeping each
    for its return would be a leak. They come back by value, as the same class if it still lives.
    """
    return "<locals>" not in cls.__qualname__


class _Completion:
    """Unpickling step that fills a class in, the first time it arrives."""

    def __init__(self, mark: int) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return _Completion, (self.mark,)

    def __call__(self, cls: type, state: tuple[Any, ...]) -> type:
        if cls in _settled:
            return cls
        _settled.add(cls)
        _bind(cls)
        if self.mark == _parent:
            _from_parent.add(cls)
        try:
            if "globals" in state[1]:
                _receive_globals(*state[1]["globals"])
            class_shapes.fill(cls, state)
        except BaseException:
            _settled.discard(cls)
            _from_parent.discard(cls)
            raise
        return cls


def _class_by_id(tracker_id: str) -> type:
    cls = _own_classes.get(tracker_id)
    if cls is None:
        cls = _cp._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if cls is None:
        from pickle import UnpicklingError

        raise UnpicklingError(
            "an object of a class that was sent by value arrived in a process which does not have "
            "the class; return it only to the process that sent the class"
        )
    return cls


def _forked() -> None:
    """In a forked child: stamps of its own, and the parent's are those it accepts."""
    global _SENDER, _parent, _stamps_lock
    _parent = _SENDER
    _SENDER = os.getpid()
    _stamps_lock = threading.Lock()
    for cls in _own_classes.values():
        _from_parent.add(cls)
    _own_classes.clear()


os.register_at_fork(after_in_child=_forked)
