"""Managed Namespace, Value and Array."""

from __future__ import annotations

import array
from multiprocessing import managers as _standard_module
from types import GenericAlias
from typing import Any

from manyhands._mp.context import _ours
from manyhands._mp.managed.base import ManagedObject
from manyhands._runtime import SharedDict, SharedList

_standard: Any = _standard_module

__all__ = ["ArrayProxy", "NamespaceProxy", "ValueProxy"]


class NamespaceProxy(ManagedObject, _standard.NamespaceProxy):  # type: ignore[misc]
    """Attributes that all processes of the family share.

    Made by `Manager().Namespace(...)`. An attribute whose name starts with an underscore is the
    proxy's, not the namespace's.

    Mirrors `multiprocessing.managers.SyncManager.Namespace`.

    >>> from manyhands.multiprocessing import Manager
    >>> settings = Manager().Namespace(colour="red")
    >>> settings.size = 3
    >>> print(settings)
    Namespace(colour='red', size=3)
    """

    _typeid = "Namespace"
    _exposed_ = ("__getattribute__", "__setattr__", "__delattr__")
    _entries: SharedDict

    def __init__(self, entries: SharedDict | None = None) -> None:
        object.__setattr__(self, "_entries", SharedDict() if entries is None else entries)

    def __reduce__(self) -> Any:
        return type(self), (self._entries,)

    @property
    def _number(self) -> int:
        return self._entries._offset

    def _copied(self) -> Any:
        return _standard.Namespace(**self._entries.copy())

    def __getattr__(self, name: str) -> Any:
        # Also while it is being unpickled, when there are no entries yet.
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        try:
            return self._entries[name]
        except KeyError:
            text = f"'Namespace' object has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=self) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self._entries[name] = value

    def __delattr__(self, name: str) -> None:
        if name.startswith("_"):
            object.__delattr__(self, name)
            return
        try:
            del self._entries[name]
        except KeyError:
            text = f"'Namespace' object has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=self) from None


class ValueProxy(ManagedObject, _standard.ValueProxy):  # type: ignore[misc]
    """One value, of any type, that all processes of the family share.

    Made by `Manager().Value(typecode, value)`; as in the standard manager the type code is only
    shown. For numbers, `manyhands.multiprocessing.Value` is faster and has atomic operations.

    Mirrors `multiprocessing.managers.SyncManager.Value`.

    >>> from manyhands.multiprocessing import Manager
    >>> best = Manager().Value("d", 0.5)
    >>> best.value = 0.75
    >>> best.get()
    0.75
    """

    _typeid = "Value"
    # The standard class has it from 3.13 on.
    __class_getitem__: Any = classmethod(GenericAlias)
    _exposed_ = ("get", "set")

    def __init__(self, typecode: Any, value: Any, lock: Any = True) -> None:
        self._items = SharedList()
        self._items.extend((typecode, value))

    @classmethod
    def _open(cls, items: SharedList) -> ValueProxy:
        proxy = cls.__new__(cls)
        proxy._items = items
        return proxy

    def __reduce__(self) -> Any:
        return type(self)._open, (self._items,)

    @property
    def _number(self) -> int:
        return self._items._offset

    def _copied(self) -> Any:
        return _standard.Value(*self._items[:])

    def get(self) -> Any:
        """A copy of the value."""
        return self._items[1]

    def set(self, value: Any) -> None:
        """Makes `value` the value."""
        self._items[1] = value

    @property
    def value(self) -> Any:
        """The value; reading it copies."""
        return self._items[1]

    @value.setter
    def value(self, value: Any) -> None:
        self._items[1] = value


class ArrayProxy(ManagedObject, _standard.ArrayProxy):  # type: ignore[misc]
    """An array of numbers of one type that all processes of the family share.

    Made by `Manager().Array(typecode, sequence)`. `manyhands.multiprocessing.Array` has atomic
    operations and NumPy views besides.

    Mirrors `multiprocessing.managers.SyncManager.Array`.
    Difference: its length never changes.

    >>> from manyhands.multiprocessing import Manager
    >>> scores = Manager().Array("i", [1, 2, 3])
    >>> scores[1] = 20
    >>> print(scores)
    array('i', [1, 20, 3])
    """

    _typeid = "Array"
    _exposed_ = ("__len__", "__getitem__", "__setitem__")

    def __init__(self, typecode: str, sequence: Any, lock: Any = True) -> None:
        self._typecode = typecode
        # Refuses what the standard manager's array refuses.
        values = array.array(typecode, sequence)
        self._numbers = _ours("sharedctypes", "RawArray")(typecode, list(values))

    @classmethod
    def _open(cls, typecode: str, numbers: Any) -> ArrayProxy:
        proxy = cls.__new__(cls)
        proxy._typecode, proxy._numbers = typecode, numbers
        return proxy

    def __reduce__(self) -> Any:
        return type(self)._open, (self._typecode, self._numbers)

    def _copied(self) -> Any:
        return array.array(self._typecode, self._numbers[:])

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        values = self._numbers[index]
        return array.array(self._typecode, values) if isinstance(index, slice) else values

    def __setitem__(self, index: Any, value: Any) -> None:
        # Refuses what the standard manager's array refuses: a value that the type cannot hold.
        is_slice = isinstance(index, slice)
        values = array.array(self._typecode, value if is_slice else [value]).tolist()
        self._numbers[index] = values if is_slice else values[0]
