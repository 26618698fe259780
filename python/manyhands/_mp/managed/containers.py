"""Managed dict and list: containers in the family heap that all its processes work on.

Each method is atomic; `locked()` makes several of them so. A process that is killed in the middle
of an operation has done it or has not done it; only `update` may then have set some of its keys.

Does not do: tell of changes *inside* a value. As with the standard manager, ``d["x"].append(1)``
changes a copy, unless ``d["x"]`` is a managed object itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from multiprocessing import managers as _standard_module
from types import GenericAlias
from typing import Any

from manyhands._mp.managed.base import ManagedObject
from manyhands._runtime import ContainerBlock, SharedDict, SharedList

__all__ = ["DictProxy", "ListProxy"]

# Ours derive from the standard proxies, for programs that ask what a proxy is.
_standard: Any = _standard_module
_MISSING: Any = object()


class DictProxy(SharedDict, ManagedObject, _standard.DictProxy):  # type: ignore[misc]
    """A dict that all processes of the family share.

    Made by `Manager().dict(...)`. Keys are compared as in a dict; values are copied in and out.
    Iterating is over the keys that were there when it began, and raises RuntimeError once keys came
    or went; `keys()`, `values()`, `items()` and `copy()` are snapshots.

    Mirrors `multiprocessing.managers.DictProxy`.
    Differences: `add`, `update_item`, `compare_exchange` and `locked` are new; `update` and `|=`
    set all keys in one step as seen by others.

    >>> from manyhands.multiprocessing import Manager
    >>> ages = Manager().dict(ada=36)
    >>> ages["alan"] = 41
    >>> ages.copy()
    {'ada': 36, 'alan': 41}
    """

    _typeid = "dict"
    # The standard class has it from 3.13 on.
    __class_getitem__: Any = classmethod(GenericAlias)
    _exposed_ = (
        "__contains__", "__delitem__", "__getitem__", "__iter__", "__len__", "__setitem__",
        "clear", "copy", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values",
    )  # fmt: skip

    @property
    def _number(self) -> int:
        return self._offset

    def _copied(self) -> dict[Any, Any]:
        return self.copy()

    def items(self) -> list[tuple[Any, Any]]:
        """All keys with their values, as a list: a snapshot."""
        return list(self.copy().items())

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Sets the keys of a mapping, or of pairs, and those given by name.

        Others see all of them set, or none. All values are pickled before the first key is set.
        A process that is killed in the middle may have set some of the keys, each with its value.

        Raises:
            MemoryError: the shared memory is full; some of the keys may be set.

        >>> from manyhands.multiprocessing import Manager
        >>> d = Manager().dict()
        >>> d.update([("a", 1)], b=2)
        >>> d.items()
        [('a', 1), ('b', 2)]
        """
        self._set_all(dict(other, **more))

    def __ior__(self, other: Any) -> DictProxy:
        self.update(other)
        return self

    def __or__(self, other: Any) -> Any:
        return self.copy() | _plain(other)

    def __ror__(self, other: Any) -> Any:
        return _plain(other) | self.copy()

    def locked(self, timeout: float | None = None) -> ContainerBlock:
        """A block in which no other thread or process gets at the dict; may be nested.

        Args:
            timeout: seconds to wait for another's block; None: as long as it takes.

        Raises:
            TimeoutError: on entering the block, if the time was not enough.
            DeadlockError: if threads wait for each other's blocks and locks, and would for ever.

        If the process in the block is killed, the next one gets in.

        >>> from manyhands.multiprocessing import Manager
        >>> d = Manager().dict(a=1, b=2)
        >>> with d.locked():
        ...     d["a"], d["b"] = d["b"], d["a"]
        >>> d.copy()
        {'a': 2, 'b': 1}
        """
        return ContainerBlock(self, timeout)

    def add(self, key: Any, n: Any = 1) -> Any:
        """Adds `n` to the value of `key`, atomically; the sum. A key that is not there counts as 0.

        >>> from manyhands.multiprocessing import Manager
        >>> hits = Manager().dict()
        >>> hits.add("/index"), hits.add("/index", 5)
        (1, 6)
        """
        if type(n) is int and n.bit_length() < 64:
            total = self._add(key, n)
            if total is not None:
                return total
        return self.update_item(key, lambda value: value + n, 0)

    def update_item(self, key: Any, function: Callable[[Any], Any], default: Any = _MISSING) -> Any:
        """Replaces the value of `key` by what `function` makes of it, atomically; the new value.

        Args:
            key: which value.
            function: called once with the value, while all others are kept out.
            default: what it is called with if the key is not there.

        Raises:
            KeyError: the key is not there, and no default was given.

        >>> from manyhands.multiprocessing import Manager
        >>> d = Manager().dict(words=["to"])
        >>> d.update_item("words", lambda words: [*words, "be"])
        ['to', 'be']
        """
        with ContainerBlock(self):
            value = self[key] if default is _MISSING else self.get(key, default)
            value = self[key] = function(value)
        return value

    def compare_exchange(self, key: Any, expected: Any, new: Any) -> bool:
        """Sets `key` to `new` if its value equals `expected`, atomically; whether it did.

        A key that is not there equals nothing.

        >>> from manyhands.multiprocessing import Manager
        >>> d = Manager().dict(state="idle")
        >>> d.compare_exchange("state", "idle", "busy"), d["state"]
        (True, 'busy')
        """
        with ContainerBlock(self):
            value = self.get(key, _MISSING)
            if value is _MISSING or value != expected:
                return False
            self[key] = new
        return True


class ListProxy(SharedList, ManagedObject, _standard.ListProxy):  # type: ignore[misc]
    """A list that all processes of the family share.

    Made by `Manager().list(...)`. Values are copied in and out. Iterating goes by index, so it sees
    what others do meanwhile; `[:]` is a snapshot.

    Mirrors `multiprocessing.managers.ListProxy`.
    Differences: `clear`, `copy`, `update_item`, `compare_exchange` and `locked` are new; `extend`,
    slices and `sort` are one step as seen by others.

    >>> from manyhands.multiprocessing import Manager
    >>> numbers = Manager().list([3, 1])
    >>> numbers.append(2)
    >>> numbers.sort()
    >>> numbers[:]
    [1, 2, 3]
    """

    _typeid = "list"
    # The standard class has it from 3.13 on.
    __class_getitem__: Any = classmethod(GenericAlias)
    _exposed_ = (
        "__add__", "__contains__", "__delitem__", "__getitem__", "__len__", "__mul__",
        "__reversed__", "__rmul__", "__setitem__", "append", "count", "extend", "index", "insert",
        "pop", "remove", "reverse", "sort", "__imul__",
    )  # fmt: skip

    @property
    def _number(self) -> int:
        return self._offset

    def _copied(self) -> list[Any]:
        return self.copy()

    def copy(self) -> list[Any]:
        """An ordinary list of the values: a snapshot."""
        copied: list[Any] = self[:]
        return copied

    def __iter__(self) -> Iterator[Any]:
        idx = 0
        while True:
            try:
                value = self[idx]
            except IndexError:
                return
            yield value
            idx += 1

    def __reversed__(self) -> Any:
        return reversed(self.copy())

    def __contains__(self, value: Any) -> bool:
        return value in self.copy()

    def count(self, value: Any, /) -> int:
        """How many items equal `value`."""
        return self.copy().count(value)

    def index(self, value: Any, *limits: Any) -> int:
        """The first place of an item that equals `value`.

        Raises:
            ValueError: there is none.
        """
        return self.copy().index(value, *limits)

    def remove(self, value: Any, /) -> None:
        """Removes the first item that equals `value`.

        Raises:
            ValueError: there is none.
        """
        with ContainerBlock(self):
            try:
                idx = self.copy().index(value)
            except ValueError:
                raise ValueError("list.remove(x): x not in list") from None
            del self[idx]

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sorts in place; others see the old order or the new one.

        Args:
            key: what to compare, for each item; called while all others are kept out.
            reverse: largest first.
        """
        with ContainerBlock(self):
            items = self.copy()
            compared = items if key is None else [key(item) for item in items]
            self._reorder(sorted(range(len(items)), key=compared.__getitem__, reverse=reverse))

    def __add__(self, other: Any) -> Any:
        return self.copy() + _plain(other)

    def __radd__(self, other: Any) -> Any:
        return _plain(other) + self.copy()

    def __mul__(self, n: int) -> Any:
        return self.copy() * n

    __rmul__ = __mul__

    def __iadd__(self, values: Iterable[Any]) -> Any:  # type: ignore[misc]
        self.extend(values)
        return self

    def __imul__(self, n: int) -> Any:
        with ContainerBlock(self):
            items = self.copy()
            if n <= 0:
                self.clear()
            else:
                self.extend(items * (n - 1))
        return self

    def locked(self, timeout: float | None = None) -> ContainerBlock:
        """A block in which no other thread or process gets at the list; see `DictProxy.locked`."""
        return ContainerBlock(self, timeout)

    def update_item(self, index: int, function: Callable[[Any], Any]) -> Any:
        """Replaces an item by what `function` makes of it, atomically; the new item.

        >>> from manyhands.multiprocessing import Manager
        >>> counts = Manager().list([0, 0])
        >>> counts.update_item(1, lambda n: n + 1)
        1
        """
        with ContainerBlock(self):
            value = self[index] = function(self[index])
        return value

    def compare_exchange(self, index: int, expected: Any, new: Any) -> bool:
        """Sets an item to `new` if it equals `expected`, atomically; whether it did."""
        with ContainerBlock(self):
            if self[index] != expected:
                return False
            self[index] = new
        return True


def _plain(container: Any) -> Any:
    """The ordinary container that a managed one is a proxy of."""
    return container._copied() if isinstance(container, ManagedObject) else container
