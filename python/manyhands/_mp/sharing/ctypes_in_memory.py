"""ctypes objects that lie in the family heap, and travel as a handle.

Each is an instance of a subclass of its ctypes type, made here, which differs in one thing: a
pickle of it, by whatever pickler, names the memory instead of copying the bytes. `copy.copy` of it
is a private copy, as of any ctypes object.

Does not do: let pointers travel. A type with pointers in it can be shared as in the standard
module, but an address means something only in the process that wrote it.
"""

from __future__ import annotations

import copy as copy_module
import ctypes
import weakref
from typing import Any, cast

from manyhands._runtime import Memory

#: The types that one letter means, as in `array` and `struct`.
TYPECODES: dict[str, Any] = {
    "c": ctypes.c_char,
    "u": ctypes.c_wchar,
    "b": ctypes.c_byte,
    "B": ctypes.c_ubyte,
    "h": ctypes.c_short,
    "H": ctypes.c_ushort,
    "i": ctypes.c_int,
    "I": ctypes.c_uint,
    "l": ctypes.c_long,
    "L": ctypes.c_ulong,
    "q": ctypes.c_longlong,
    "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}

_INTEGERS = {
    (1, True): "b",
    (1, False): "B",
    (2, True): "h",
    (2, False): "H",
    (4, True): "i",
    (4, False): "I",
    (8, True): "q",
    (8, False): "Q",
}

#: The cell's format character for each simple type that has atomic operations.
CELL_CODES: dict[Any, str] = {
    ctypes.c_bool: "?",
    ctypes.c_float: "f",
    ctypes.c_double: "d",
} | {
    type_: _INTEGERS[ctypes.sizeof(type_), type_(-1).value < 0]
    for code, type_ in TYPECODES.items()
    if code in "bBhHiIlLqQ"
}

_SHARED_TYPES: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def type_of(typecode_or_type: Any) -> Any:
    """The ctypes type for a letter; a type itself."""
    return TYPECODES.get(typecode_or_type, typecode_or_type)


def place(type_: Any, memory: Memory) -> Any:
    """The object of a ctypes type that lies at the start of `memory`."""
    if issubclass(type_, _InMemory):
        type_ = plain_type(type_)
    shared = _SHARED_TYPES.get(type_)
    if shared is None:
        shared = _SHARED_TYPES[type_] = _make_shared_type(type_)
    obj = shared.from_buffer(memory)
    obj._memory = memory
    return obj


def place_array(element_type: Any, length: int, memory: Memory) -> Any:
    """The ctypes array that lies at the start of `memory`."""
    return place(element_type * length, memory)


def plain_type(type_: Any) -> Any:
    """The type that a shared one was made of; any other type itself."""
    return getattr(type_, "_plain_type", type_)


def memory_of(obj: Any) -> Memory | None:
    """What the object lies in; None if it is not shared."""
    memory: Memory | None = getattr(obj, "_memory", None)
    return memory


class _InMemory:
    """What the subclasses add."""

    __slots__ = ()
    _plain_type: Any
    _memory: Memory

    def __reduce_ex__(self, protocol: Any) -> Any:
        plain: Any = self._plain_type
        if issubclass(plain, ctypes.Array):
            # The element type can be named in a pickle; that of an array has no name.
            return place_array, (plain._type_, plain._length_, self._memory)
        return place, (plain, self._memory)

    def __copy__(self) -> Any:
        private, this = self._plain_type(), cast("Any", self)
        ctypes.memmove(ctypes.byref(private), ctypes.byref(this), ctypes.sizeof(private))
        return private

    def __deepcopy__(self, memo: Any) -> Any:
        return copy_module.copy(self)


def _make_shared_type(type_: Any) -> Any:
    namespace: dict[str, Any] = {
        "_plain_type": type_,
        "__module__": type_.__module__,
        "__doc__": type_.__doc__,
        "__reduce_ex__": _InMemory.__reduce_ex__,
        "__copy__": _InMemory.__copy__,
        "__deepcopy__": _InMemory.__deepcopy__,
    }
    if issubclass(type_, ctypes._SimpleCData):
        namespace["__repr__"] = lambda self: f"{type_.__name__}({self.value!r})"
    return type(type_)(type_.__name__, (type_,), namespace)
