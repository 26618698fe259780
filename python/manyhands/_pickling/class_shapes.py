"""Classes by value: the bare class as the sender has it, before what is in it arrives.

cloudpickle makes the class anew with a ``class`` statement's machinery and then sets its
attributes. That loses what only the statement knew, and repeats what the statement did:

* ``__slots__``, the qualified name, an attribute that is bound to the same object as a base's;
* the members of an enumeration: aliases, combined flags, attributes, values that ``__new__`` made;
* class keywords: ``__init_subclass__`` and metaclasses would be called without them.

Guarantees:
    a bare class has the layout (slots, bases, metaclass) of the one sent; ``__init_subclass__`` and
    ``__new__`` of a metaclass do not run again where both they and what they left behind in the
    class travel by value, nor where they may have been given keywords; a class that is here
    already is not made a second time.

Does not do: repeat what those did elsewhere, such as an entry in a registry of an imported module;
keywords of metaclasses that are imported (they are called without).
"""

from __future__ import annotations

import abc
import copyreg
import enum
import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

from cloudpickle import cloudpickle as _cp

_NOT_SENT = frozenset({"__dict__", "__weakref__", "__slots__", "__annotate_func__"})
# Names that the maker of an enumeration borrows.
_BORROWED = ("__new__", "__init__", "__reduce_ex__", "__new_member__")
_MAKERS: tuple[Any, ...] = (type.__new__, abc.ABCMeta.__new__)


def reduced(cls: type) -> tuple[Any, tuple[Any, ...], tuple[dict[str, Any], dict[str, Any]]]:
    """How to make the class bare, with which arguments, and what is in it then.

    `fill` takes the last. Refuses what could not arrive as it is.
    """
    state, rest = _own_state(cls)
    if cls in copyreg.dispatch_table:
        # How its instances are pickled, also on their way back.
        rest["copyreg"] = copyreg.dispatch_table[cls]
    if issubclass(cls, enum.Enum):
        members = [_member(cls, name) for name in cls.__members__]
        for name in cls.__members__:
            state.pop(name, None)
        rest["members"] = {name: _member_state(member) for name, member in _canonical(cls)}
        boundary = getattr(cls, "_boundary_", None)
        data_type: Any = getattr(cls, "_member_type_", object)
        description = (type(cls), cls.__name__, cls.__bases__, _namespace(cls), boundary)
        return make_enum, (description, data_type, members, _tracker_id(cls)), (state, rest)
    # A metaclass that is imported may look for what the class statement named.
    bases = cls.__bases__ if _may_be_made_directly(type(cls)) else _cp._get_bases(cls)
    how = (type(cls), cls.__name__, bases, _namespace(cls), _tracker_id(cls))
    return make_class, how, (state, rest)


def fill(cls: type, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Set what is in a class that `reduced` described."""
    _cp._class_setstate(cls, state)
    for name in _BORROWED:
        if "members" in state[1] and name not in state[0] and name in vars(cls):
            type.__delattr__(cls, name)
    if "copyreg" in state[1]:
        copyreg.dispatch_table.setdefault(cls, state[1]["copyreg"])
    for name, attributes in state[1].get("members", {}).items():
        found: Any = cls[name]  # type: ignore[index]
        found.__dict__.update(attributes)


def _tracker_id(cls: type) -> str:
    found: str = _cp._get_or_create_tracker_id(cls)
    return found


def _own_state(cls: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """All of the class's own dictionary that is not made with the class itself."""
    getstate = _cp._enum_getstate if issubclass(cls, enum.Enum) else _cp._class_getstate
    state, rest = getstate(cls)
    # cloudpickle leaves out what a base has as well; its binding may change later.
    for name in vars(cls).keys() - _cp._extract_class_dict(cls).keys():
        if not (issubclass(cls, enum.Enum) and enum._is_sunder(name)):  # type: ignore[attr-defined]
            state.setdefault(name, vars(cls)[name])
    made = [name for name, value in state.items() if _is_slot(cls, value)]
    for name in _NOT_SENT.union(made):
        state.pop(name, None)
    return state, rest


def named_in_annotations(cls: type) -> dict[str, Any]:
    """The types among the variables of ``__main__`` that the class names in annotations of text.

    Who asks for its type hints looks them up there.
    """
    annotations = vars(cls).get("__annotations__")
    if type(annotations) is not dict:
        return {}
    namespace = vars(sys.modules["__main__"])
    texts = [text for text in annotations.values() if type(text) is str]
    found = {name: namespace.get(name) for text in texts for name in _names(text)}
    return {name: value for name, value in found.items() if _is_a_type(value)}


@functools.lru_cache
def _names(expression: str) -> tuple[str, ...]:
    try:
        return compile(expression, "<annotation>", "eval").co_names
    except (SyntaxError, ValueError):
        return ()


def _is_a_type(value: Any) -> bool:
    kinds = (type, types.ModuleType, types.GenericAlias, types.UnionType)
    return isinstance(value, kinds) or type(value).__module__ == "typing"


def _is_slot(cls: type, value: Any) -> bool:
    return isinstance(value, types.MemberDescriptorType) and value.__objclass__ is cls


def _namespace(cls: type) -> dict[str, Any]:
    """What has to be there when the class is made."""
    namespace: dict[str, Any] = {"__qualname__": cls.__qualname__}
    if "__module__" in vars(cls):
        namespace["__module__"] = cls.__module__
    if "__orig_bases__" in vars(cls) and _may_be_made_directly(type(cls)):
        namespace["__orig_bases__"] = vars(cls)["__orig_bases__"]
    if isinstance(vars(cls).get("__dict__"), property):
        namespace["__dict__"] = vars(cls)["__dict__"]
    slots = vars(cls).get("__slots__")
    if isinstance(slots, (str, tuple, list, dict)):
        namespace["__slots__"] = slots
    elif slots is not None:
        # An iterator has been used up, the names are in the members.
        namespace["__slots__"] = [name for name, value in vars(cls).items() if _is_slot(cls, value)]
    return namespace


# --- classes ------------------------------------------------------------------------------------


def make_class(
    meta: type, name: str, bases: tuple[Any, ...], namespace: dict[str, Any], tracker_id: str
) -> type:
    """Unpickle a class: bare, or the one that is here already."""
    known = _cp._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if known is not None:
        return known  # type: ignore[no-any-return]
    if _may_be_made_directly(meta) and (_has_own_maker(meta) or _must_not_tell(bases)):
        made = _made_quietly(meta, name, bases, namespace)
    else:
        made = types.new_class(name, bases, {"metaclass": meta}, lambda ns: ns.update(namespace))
    return _cp._lookup_class_or_track(tracker_id, made)  # type: ignore[no-any-return]


def _may_be_made_directly(meta: type) -> bool:
    """Whether nothing that is imported has a say in how classes of `meta` are made."""
    imported = next(m for m in meta.__mro__ if _cp._should_pickle_by_reference(m))
    return imported is type or (imported.__new__ in _MAKERS and "__init__" not in vars(imported))


def _has_own_maker(meta: type) -> bool:
    makers: Any = meta
    return makers.__new__ not in _MAKERS or makers.__init__ is not type.__init__


def _must_not_tell(bases: tuple[type, ...]) -> bool:
    """Whether an ``__init_subclass__`` of `bases` comes by value itself, or may take keywords."""
    for definer in dict.fromkeys(cls for base in bases for cls in base.__mro__):
        found = vars(definer).get("__init_subclass__")
        if definer is object or found is None:
            continue
        code = getattr(getattr(found, "__func__", None), "__code__", None)
        takes = code is None or code.co_argcount > 1 or code.co_kwonlyargcount > 0
        if not _cp._should_pickle_by_reference(definer) or (code is not None and takes):
            return True
    return False


class _Made(Exception):
    """The class is made; what would come next is to tell its bases."""


class _Stop:
    """A class attribute that ends the making of its class where the bases would be told."""

    owner: type

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner
        raise _Made


def _made_quietly(
    meta: type, name: str, bases: tuple[type, ...], namespace: dict[str, Any]
) -> type:
    """``type.__new__`` without the call of ``__init_subclass__``, which it makes at its end.

    The class is complete when the names are given to its attributes; there it is taken out.
    """
    stop = _Stop()
    hidden = "_manyhands_stop"
    try:
        type.__new__(meta, name, bases, {**namespace, hidden: stop})
    except (_Made, RuntimeError):  # Python 3.11 makes it a RuntimeError.
        if not hasattr(stop, "owner"):
            raise
    made = stop.owner
    type.__delattr__(made, hidden)
    if issubclass(meta, abc.ABCMeta):
        abc._abc_init(made)  # type: ignore[attr-defined]
    return made


# --- enumerations -------------------------------------------------------------------------------


def _canonical(cls: Any) -> Iterator[tuple[str, enum.Enum]]:
    return ((name, member) for name, member in cls.__members__.items() if member.name == name)


def _member_state(member: enum.Enum) -> dict[str, Any]:
    made = ("_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_")
    return {name: value for name, value in vars(member).items() if name not in made}


def _member(cls: Any, name: str) -> tuple[str, Any, tuple[Any, ...] | None]:
    """A member's name, its value, and the arguments for ``__new__`` of its data type."""
    member = cls.__members__[name]
    data_type = cls._member_type_
    if data_type is object:
        return name, member._value_, ()
    how = data_type.__reduce_ex__(member, 2)
    maker: Any = how[0]
    arguments: Any = how[1]
    if maker is cls:
        return name, member._value_, arguments
    if getattr(maker, "__name__", "") == "__newobj__" and arguments[0] is cls:
        return name, member._value_, arguments[1:]
    return name, member._value_, None


def make_enum(
    description: tuple[Any, str, tuple[type, ...], dict[str, Any], Any],
    data_type: Any,
    members: list[tuple[str, Any, tuple[Any, ...] | None]],
    tracker_id: str,
) -> type:
    """Unpickle an enumeration: with its members, but nothing else in it yet."""
    known = _cp._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if known is not None:
        return known  # type: ignore[no-any-return]
    meta, name, bases, namespace, boundary = description
    body = meta.__prepare__(name, bases)
    if members and all(arguments is not None for _, _, arguments in members):
        body.update(_borrowed(data_type, members))
    for member_name, value, _ in members:
        # Also a function is a value, if the sender says so.
        body[member_name] = enum.member(value) if hasattr(value, "__get__") else value
    keywords = {} if boundary is None else {"boundary": boundary}
    made = meta.__new__(meta, name, bases, body, **keywords)
    made.__module__ = namespace.get("__module__", made.__module__)
    made.__qualname__ = namespace["__qualname__"]
    return _cp._lookup_class_or_track(tracker_id, made)  # type: ignore[no-any-return]


def _borrowed(
    data_type: Any, members: list[tuple[str, Any, tuple[Any, ...] | None]]
) -> dict[str, Any]:
    """Methods by which the members come out as the sender has them; `fill` takes them back."""
    remaining = iter(members)

    def make(cls: Any, *_given: Any) -> Any:
        _, value, arguments = next(remaining)
        member: Any = data_type.__new__(cls, *(arguments or ()))
        member._value_ = value
        return member

    def begin(_: Any, *__: Any) -> None:
        """What the original has set arrives in the state."""

    return {"__new__": make, "__init__": begin, "__reduce_ex__": enum.Enum.__reduce_ex__}
