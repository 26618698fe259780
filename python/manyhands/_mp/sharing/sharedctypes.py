"""`Value`, `Array` and their kin: numbers, arrays and structures that processes share.

Guarantees: everything here lies in the family heap and is pickled as a handle, so it may be an
argument, a result, a queue item... anywhere in the family, not only "through inheritance". A value
or array of numbers is a compiled object with atomic operations; what the standard module gives for
other types (characters, structures) is the same wrapper around a ctypes object here.

Mirrors https://docs.python.org/3/library/multiprocessing.html#module-multiprocessing.sharedctypes;
docs/shared-values.md has the differences.
"""

from __future__ import annotations

import ctypes
from typing import Any

from manyhands._mp.sharing import ctypes_in_memory
from manyhands._mp.sharing.ctypes_in_memory import CELL_CODES, memory_of, plain_type, type_of
from manyhands._runtime import Memory, SharedArray, SharedValue

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """A ctypes object in shared memory, without a lock.

    Args:
        typecode_or_type: a letter (``"i"``, ``"d"``...) or a ctypes type.
        args: what the type is called with.

    Returns: an instance of the type. It has no atomic operations, and its accesses are not watched
        for lost updates.

    Raises:
        MemoryError: the family heap is at its limit.

    >>> RawValue("i", 42).value
    42
    """
    type_ = type_of(typecode_or_type)
    obj = ctypes_in_memory.place(type_, Memory(ctypes.sizeof(type_)))
    obj.__init__(*args)
    return obj


def RawArray(typecode_or_type: Any, size_or_initializer: Any) -> Any:
    """A ctypes array in shared memory, without a lock.

    Args:
        typecode_or_type: a letter (``"i"``, ``"d"``...) or a ctypes type.
        size_or_initializer: how many elements, all zero; or a sequence of what they are.

    Raises:
        MemoryError: the family heap is at its limit.

    >>> list(RawArray("d", [0.5, 1.5]))
    [0.5, 1.5]
    """
    type_ = type_of(typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new_array(type_, size_or_initializer, 0)
    obj = _new_array(type_, len(size_or_initializer), 0)
    obj.__init__(*size_or_initializer)
    return obj


def _new_array(type_: Any, length: int, n_watched: int) -> Any:
    memory = Memory(ctypes.sizeof(type_ * length), n_watched)
    return ctypes_in_memory.place_array(type_, length, memory)


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """A number, or another ctypes object, that processes share; with a lock.

    Args:
        typecode_or_type: a letter (``"i"``, ``"d"``...) or a ctypes type.
        args: what the type is called with, as in ``Value("i", 7)``.
        lock: True: a new `RLock`; a lock: that one; False: none, which is `RawValue`.
        ctx: the context whose RLock is taken.

    Returns: a `Synchronized` for a simple type, with ``value`` and, for numbers, atomic operations;
        for a structure, a wrapper with its fields.

    Raises:
        AttributeError: `lock` cannot be acquired.
        MemoryError: the family heap is at its limit.

    Differs from the standard function: the result may travel; numbers have atomic operations and
    may be watched for lost updates.

    >>> counter = Value("i", 40)
    >>> with counter.get_lock():
    ...     counter.value += 1
    >>> counter.add(1)
    42
    """
    type_ = type_of(typecode_or_type)
    code = CELL_CODES.get(type_) if lock is not False else None
    if code is None or len(args) > 1:
        raw = RawValue(type_, *args)
        return raw if lock is False else synchronized(raw, _lock_for(lock, ctx))
    lock = _lock_for(lock, ctx)
    value = _SynchronizedNumber(Memory(ctypes.sizeof(type_), 1), code, lock)
    if args:
        value.value = args[0]
    return value


def Array(
    typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True, ctx: Any = None
) -> Any:
    """An array that processes share; with a lock.

    Args:
        typecode_or_type: a letter (``"i"``, ``"d"``, ``"c"``...) or a ctypes type.
        size_or_initializer: how many elements, all zero; or a sequence of what they are.
        lock: True: a new `RLock`; a lock: that one; False: none, which is `RawArray`.
        ctx: the context whose RLock is taken.

    Returns: a `SynchronizedArray`; of numbers, with atomic operations on elements and as a buffer
        that NumPy sees without a copy; of ``"c"``, a `SynchronizedString`.

    Raises:
        AttributeError: `lock` cannot be acquired.
        MemoryError: the family heap is at its limit.

    >>> totals = Array("d", [1.0, 2.0])
    >>> totals.add(0, 0.5)
    1.5
    >>> totals[:]
    [1.5, 2.0]
    """
    if lock is False:
        return RawArray(typecode_or_type, size_or_initializer)
    type_ = type_of(typecode_or_type)
    if isinstance(size_or_initializer, int):
        raw = _new_array(type_, size_or_initializer, size_or_initializer)
    else:
        raw = _new_array(type_, len(size_or_initializer), len(size_or_initializer))
        raw.__init__(*size_or_initializer)
    return synchronized(raw, _lock_for(lock, ctx))


def _lock_for(lock: Any, ctx: Any) -> Any:
    if lock is True or lock is None:
        return _new_lock(ctx)
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire': give a lock, True or False")
    return lock


def _new_lock(ctx: Any) -> Any:
    if ctx is None:
        from manyhands._mp import context

        ctx = context._default_context
    return ctx.RLock()


def copy(obj: Any) -> Any:
    """A ctypes object in shared memory with the same bytes as `obj`, without a lock.

    >>> copy(RawValue("i", 3)).value
    3
    """
    type_ = plain_type(type(obj))
    new = ctypes_in_memory.place(type_, Memory(ctypes.sizeof(type_)))
    ctypes.memmove(ctypes.byref(new), ctypes.byref(obj), ctypes.sizeof(type_))
    return new


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> Any:
    """`obj`, a ctypes object, with a lock around each access.

    Args:
        obj: a ctypes object: of `RawValue`, `RawArray`, or any other (which only this process has).
        lock: the lock; None: a new `RLock`.
        ctx: the context whose RLock is taken.

    >>> synchronized(RawValue("i", 3)).value
    3
    """
    if isinstance(obj, SynchronizedBase):
        raise AssertionError("object already synchronized")
    lock = _new_lock(ctx) if lock is None else lock
    memory, type_ = memory_of(obj), plain_type(type(obj))
    if isinstance(obj, ctypes._SimpleCData):
        if memory is not None and type_ in CELL_CODES:
            return _SynchronizedNumber(memory, CELL_CODES[type_], lock)
        return _SynchronizedSimple(obj, lock)
    if isinstance(obj, ctypes.Array):
        element = obj._type_
        if memory is not None and element in CELL_CODES:
            return _SynchronizedNumbers(memory, CELL_CODES[element], len(obj), lock)
        if element is ctypes.c_char:
            return _SynchronizedCharacters(obj, lock)
        return _SynchronizedItems(obj, lock)
    return _wrapper_class(type_)(obj, lock)


class SynchronizedBase:
    """What all have: the object and its lock.

    ``with`` takes the lock; so does each access by itself.
    """

    __slots__ = ()

    def get_obj(self) -> Any:
        """The ctypes object. Accesses to it take no lock."""
        raise NotImplementedError

    def get_lock(self) -> Any:
        """The lock."""
        raise NotImplementedError

    def __reduce__(self) -> Any:
        return synchronized, (self.get_obj(), self.get_lock())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} wrapper for {self.get_obj()!r}>"


class Synchronized(SynchronizedBase):
    """A simple value with a lock; made by `Value`."""

    __slots__ = ()


class SynchronizedArray(SynchronizedBase):
    """An array with a lock; made by `Array`."""

    __slots__ = ()


class SynchronizedString(SynchronizedArray):
    """An array of characters with a lock; made by ``Array("c", ...)``."""

    __slots__ = ()


class _SynchronizedNumber(SharedValue, Synchronized):
    """One number; the compiled base has the operations."""

    __slots__ = ()

    def get_obj(self) -> Any:
        return ctypes_in_memory.place(_type_of_cell(self.code), self.memory)

    def __reduce__(self) -> Any:
        return _number, (self.memory, self.code, self.get_lock())

    __repr__ = SynchronizedBase.__repr__


class _SynchronizedNumbers(SharedArray, SynchronizedArray):
    """Many numbers; the compiled base has the operations."""

    __slots__ = ()

    def get_obj(self) -> Any:
        return ctypes_in_memory.place_array(_type_of_cell(self.code), len(self), self.memory)

    def numpy(self) -> Any:
        """The elements as a NumPy array over the same memory. Its accesses take no lock.

        >>> numbers = Array("i", [1, 2, 3])
        >>> numbers.numpy()[1] = 20
        >>> numbers[:]
        [1, 20, 3]
        """
        import numpy as np

        return np.asarray(self)

    def __reduce__(self) -> Any:
        return _numbers, (self.memory, self.code, len(self), self.get_lock())

    __repr__ = SynchronizedBase.__repr__


def _number(memory: Memory, code: str, lock: Any) -> Any:
    """What a pickled number becomes."""
    return _SynchronizedNumber(memory, code, lock)


def _numbers(memory: Memory, code: str, length: int, lock: Any) -> Any:
    """What a pickled array of numbers becomes."""
    return _SynchronizedNumbers(memory, code, length, lock)


_SynchronizedNumber.__name__ = _SynchronizedNumber.__qualname__ = "Synchronized"
_SynchronizedNumbers.__name__ = _SynchronizedNumbers.__qualname__ = "SynchronizedArray"


def _type_of_cell(code: str) -> Any:
    return _TYPES_OF_CELLS[code]


_TYPES_OF_CELLS: dict[str, Any] = {code: type_ for type_, code in reversed(CELL_CODES.items())}


class _Wrapper(SynchronizedBase):
    """A ctypes object and a lock, side by side."""

    __slots__ = ("__weakref__", "_lock", "_obj", "acquire", "release")

    def __init__(self, obj: Any, lock: Any) -> None:
        self._obj = obj
        self._lock = lock
        self.acquire = lock.acquire
        self.release = lock.release

    def get_obj(self) -> Any:
        return self._obj

    def get_lock(self) -> Any:
        return self._lock

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *exc_info: Any) -> Any:
        return self._lock.__exit__(*exc_info)


def _guarded(name: str) -> property:
    """An attribute of the ctypes object, read and written with the lock held."""

    def get(self: Any) -> Any:
        with self._lock:
            return getattr(self._obj, name)

    def set_(self: Any, value: Any) -> None:
        with self._lock:
            setattr(self._obj, name, value)

    return property(get, set_, doc=f"The object's {name}, with the lock held.")


class _SynchronizedSimple(_Wrapper, Synchronized):
    """A simple value that is no number, or not in shared memory."""

    __slots__ = ()
    value = _guarded("value")


class _SynchronizedItems(_Wrapper, SynchronizedArray):
    """An array of what are no numbers, or not in shared memory."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._obj)

    def __getitem__(self, index: Any) -> Any:
        with self._lock:
            return self._obj[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        with self._lock:
            self._obj[index] = value


class _SynchronizedCharacters(_SynchronizedItems, SynchronizedString):
    """An array of characters."""

    __slots__ = ()
    value = _guarded("value")
    raw = _guarded("raw")


for _class, _name in (
    (_SynchronizedSimple, "Synchronized"),
    (_SynchronizedItems, "SynchronizedArray"),
    (_SynchronizedCharacters, "SynchronizedString"),
):
    _class.__name__ = _class.__qualname__ = _name

_wrapper_classes: Any = None


def _wrapper_class(type_: Any) -> Any:
    """The wrapper of a structure or union: a property for each field, also those of its bases."""
    global _wrapper_classes
    if _wrapper_classes is None:
        import weakref

        _wrapper_classes = weakref.WeakKeyDictionary()
    found = _wrapper_classes.get(type_)
    if found is None:
        fields = [
            field[0]
            for base in reversed(type_.__mro__)
            for field in base.__dict__.get("_fields_", ())
        ]
        namespace: dict[str, Any] = {name: _guarded(name) for name in fields}
        found = type(f"Synchronized{type_.__name__}", (_Wrapper,), namespace)
        _wrapper_classes[type_] = found
    return found
