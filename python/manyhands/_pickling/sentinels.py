"""Objects that mean nothing but themselves: ``MISSING = object()``, compared by ``is``.

A copy of one is worth nothing. One that is a global variable of an imported module travels as its
name. One of ``__main__`` is made once in each process that it reaches, and is known there whenever
it comes again, also on its way back; so a default argument is the very object that the function
body compares it with, whichever way the two have arrived.

Guarantees: the process that made one gets that one back.

Does not do: objects with state, or with an ``__eq__`` or a way of pickling of their own, which a
copy does for; nor what is no global variable.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

#: Sentinels from elsewhere that are kept; a program has a few.
_MOST_KEPT = 1000

# (process, name, serial) -> the object it is here, and the other way round.
_here: dict[tuple[int, str, int], Any] = {}
_keys: dict[int, tuple[int, str, int]] = {}
# The bare objects of imported modules by their ids, and how many modules there were then.
_imported: dict[int, tuple[str, str]] = {}
_n_modules = 0


def reduced(obj: Any) -> tuple[Any, ...] | None:
    """How to pickle `obj` as the one that it is; None: it is no such object."""
    cls = type(obj)
    if cls is not object and not _means_only_itself(obj, cls):
        return None
    key = _keys.get(id(obj))
    if key is not None and _here.get(key) is obj:
        return of_main, (*key, 0, cls)
    where = _imported_name(obj, cls)
    if where is not None:
        return of_module, where
    name = _name_in(vars(sys.modules["__main__"]), obj)
    if name is None:
        return None
    from manyhands._pickling import by_value

    serial = by_value.stamp(name, obj)
    return of_main, (by_value.sender(), name, serial, id(obj), cls)


def of_module(module: str, name: str) -> Any:
    """Unpickle a sentinel of an imported module."""
    return getattr(importlib.import_module(module), name)


def of_main(sender: int, name: str, serial: int, address: int, cls: Any) -> Any:
    """Unpickle a sentinel of the ``__main__`` of process `sender`."""
    from manyhands._pickling import by_value

    key = sender, name, serial
    own = by_value.stamped_here(sender, name, serial, address)
    if type(own) is cls:
        return own
    if key not in _here:
        if len(_here) >= _MOST_KEPT:
            oldest = next(iter(_here))
            _keys.pop(id(_here.pop(oldest)), None)
        made = _here[key] = cls.__new__(cls)
        _keys[id(made)] = key
    return _here[key]


def _means_only_itself(obj: Any, cls: type) -> bool:
    if isinstance(obj, type) or getattr(obj, "__dict__", None):
        return False
    same: tuple[str, ...] = ("__reduce_ex__", "__reduce__", "__getstate__", "__eq__", "__new__")
    if any(getattr(cls, name) is not getattr(object, name) for name in same):
        return False
    if hasattr(cls, "__getnewargs__") or hasattr(cls, "__getnewargs_ex__"):
        return False
    try:
        return bool(object.__reduce_ex__(obj, 2)[2:] == (None, None, None))
    except Exception:
        return False  # What cannot be pickled is refused elsewhere.


def _name_in(namespace: dict[str, Any], obj: Any) -> str | None:
    for name, value in list(namespace.items()):
        if value is obj:
            return name
    return None


def _imported_name(obj: Any, cls: type) -> tuple[str, str] | None:
    if cls is not object:
        name = _name_in(_namespace(cls.__module__), obj)
        return None if name is None else (cls.__module__, name)
    # A bare object may be anybody's.
    global _n_modules
    if _n_modules != len(sys.modules):
        _n_modules = len(sys.modules)
        _imported.clear()
        for module_name in [*sys.modules]:
            for name, value in list(_namespace(module_name).items()):
                if type(value) is object:
                    _imported.setdefault(id(value), (module_name, name))
    found = _imported.get(id(obj))
    return found if found and _namespace(found[0]).get(found[1]) is obj else None


def _namespace(module_name: str) -> dict[str, Any]:
    """The variables of a module that others can import, too."""
    namespace = getattr(sys.modules.get(module_name), "__dict__", None)
    if module_name == "__main__" or type(namespace) is not dict:
        return {}
    return namespace if namespace.get("__spec__") is not None else {}
