"""Objects that cloudpickle would change on their way: as they are, or refused.

Each function here is a reducer for one kind of object, used in place of cloudpickle's. What they
keep to: by value is right or refused, never silently different. What arrives in which form stands
in ``docs/what-travels.md``.

Guarantees:
    an open file, and a logger that only its own variable knows, are refused with what to do
    instead; code keeps the name of its file; a memoryview arrives as one; descriptors of classes,
    type variables and read-only mappings keep all that is in them.

Does not do: change what plain pickle does with objects it knows. Functions, their cells and
modules are in `by_value`, classes in `class_shapes`.
"""

from __future__ import annotations

import gc
import io
import logging
import pickle
import sys
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any

from cloudpickle import cloudpickle as _cp

_STREAMS = ("stdout", "stderr", "__stdout__", "__stderr__")


# --- refused, or only by name -------------------------------------------------------------------


def _reduce_text_file(file: io.TextIOWrapper) -> tuple[Any, ...]:
    for name in _STREAMS:
        if getattr(sys, name, None) is file:
            return getattr, (sys, name)
    raise pickle.PicklingError(
        f"an open file ({_shown_name(file)}) stays in the process that opened it"
    )


def _shown_name(file: io.TextIOWrapper) -> str:
    name = getattr(file, "name", None)
    return repr(name) if isinstance(name, (str, bytes, int)) else "without a name"


def _reduce_logger(logger: logging.Logger) -> tuple[Any, ...]:
    if logging.getLogger(logger.name) is not logger:
        raise pickle.PicklingError(
            f"logging.getLogger({logger.name!r}) gives another logger than this one, and a logger "
            f"is sent as its name"
        )
    return logging.getLogger, (logger.name,)


# --- code ---------------------------------------------------------------------------------------

# In the order in which `types.CodeType` takes them.
_CODE = (
    *("co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_nlocals", "co_stacksize"),
    *("co_flags", "co_code", "co_consts", "co_names", "co_varnames", "co_filename", "co_name"),
    *("co_qualname", "co_firstlineno", "co_linetable", "co_exceptiontable", "co_freevars"),
    "co_cellvars",
)


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    return types.CodeType, tuple(getattr(code, name) for name in _CODE)


# --- memory -------------------------------------------------------------------------------------


def _reduce_memoryview(view: memoryview) -> tuple[Any, ...]:
    parts: Any = (view.format, view.shape, view.readonly)
    try:
        make_memoryview(bytes(view.nbytes), *parts)
    except (TypeError, ValueError) as error:
        raise pickle.PicklingError(
            f"a memoryview of format {view.format!r} and shape {view.shape} cannot be made from "
            f"bytes ({error}); send bytes(view) and its format"
        ) from None
    if view.c_contiguous:
        data: Any = pickle.PickleBuffer(view)
    else:
        data = view.tobytes() if view.readonly else bytearray(view.tobytes())
    return make_memoryview, (data, *parts)


def make_memoryview(data: Any, form: str, shape: tuple[int, ...], is_readonly: bool) -> memoryview:
    """Unpickle a memoryview: of memory of its own."""
    flat = memoryview(data).cast("B")
    cast: Any = flat.cast  # The type information knows literal formats and shapes only.
    view = cast(form) if len(shape) == 1 else cast(form, shape)
    return view.toreadonly() if is_readonly else view  # type: ignore[no-any-return]


# --- what is in classes -------------------------------------------------------------------------


def _reduce_descriptor(descriptor: Any) -> tuple[Any, ...]:
    return own_attribute, (descriptor.__objclass__, descriptor.__name__)


def own_attribute(cls: type, name: str) -> Any:
    """Unpickle a descriptor, which ``getattr`` would call."""
    return vars(cls)[name]


def reduce_property(obj: property) -> tuple[Any, ...]:
    """A property of any class: its functions, and its attributes after it is made."""
    functions = (obj.fget, obj.fset, obj.fdel, obj.__doc__)
    attributes = getattr(obj, "__dict__", None) or None
    return make_property, (type(obj), functions, attributes, _property_name(obj))


def _property_name(obj: property) -> str | None:
    # Its own from 3.13 on, where it may have been given; before, that of its function if any.
    return getattr(obj, "__name__", None) if hasattr(property, "__name__") else None


def make_property(
    cls: type[property],
    functions: tuple[Any, Any, Any, str | None],
    attributes: dict[str, Any] | None,
    name: str | None,
) -> property:
    """Unpickle a property, without calling an ``__init__`` that takes something else."""
    made = cls.__new__(cls)
    property.__init__(made, *functions)
    if attributes:
        made.__dict__.update(attributes)
    if name is not None:
        made.__name__ = name  # type: ignore[attr-defined]
    return made


def reduce_method_wrapper(obj: Any) -> tuple[Any, ...]:
    """A staticmethod or classmethod of any class, with its attributes."""
    # What it copies from its function when it is made need not travel.
    copied = vars(type(obj)(obj.__func__)) if type(obj) in (staticmethod, classmethod) else {}
    own = {k: v for k, v in vars(obj).items() if k not in copied or copied[k] is not v}
    return make_method_wrapper, (type(obj), obj.__func__), own or None


def make_method_wrapper(cls: Any, function: Any) -> Any:
    """Unpickle a staticmethod or classmethod."""
    made = cls.__new__(cls)
    kind: Any = classmethod if issubclass(cls, classmethod) else staticmethod
    kind.__init__(made, function)
    return made


def _reduce_mapping_proxy(proxy: types.MappingProxyType[Any, Any]) -> tuple[Any, ...]:
    # What it shows, not a dict made of it: that may have an order, a default, an owner.
    mapping = next(iter(gc.get_referents(proxy)), None)
    if mapping is None or _is_of_a_class(mapping):
        mapping = {k: v for k, v in proxy.items() if k not in ("__dict__", "__weakref__")}
    return types.MappingProxyType, (mapping,)


def _is_of_a_class(mapping: Any) -> bool:
    return type(mapping) is dict and "__dict__" in mapping and "__module__" in mapping


# --- type variables -----------------------------------------------------------------------------


def reduce_type_variable(variable: Any) -> tuple[Any, ...]:
    """A type variable by value, the same one each time."""
    keywords: dict[str, Any] = {}
    constraints = getattr(variable, "__constraints__", ())
    for name in ("bound", "covariant", "contravariant", "infer_variance"):
        value = getattr(variable, f"__{name}__", None)
        if value not in (None, False):
            keywords[name] = value
    if getattr(variable, "has_default", lambda: False)():
        keywords["default"] = variable.__default__
    tracker_id = _cp._get_or_create_tracker_id(variable)
    where = getattr(variable, "__module__", None)
    return make_type_variable, (
        *(type(variable), variable.__name__, constraints, keywords, (where, tracker_id)),
    )


def make_type_variable(
    kind: Any,
    name: str,
    constraints: tuple[Any, ...],
    keywords: dict[str, Any],
    identity: tuple[str | None, str],
) -> Any:
    """Unpickle a type variable, or find the one that has arrived before."""
    module, tracker_id = identity
    known = _cp._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if known is not None:
        return known
    made = kind(name, *constraints, **keywords)
    if module is not None:
        made.__module__ = module
    return _cp._lookup_class_or_track(tracker_id, made)


def _reduce_type_variable_by_name(variable: Any) -> tuple[Any, ...]:
    found = _cp._lookup_module_and_qualname(variable, name=variable.__name__)
    if found is None or _cp._is_registered_pickle_by_value(found[0]):
        return reduce_type_variable(variable)
    return getattr, found


# --- containers that hold weakly ----------------------------------------------------------------


def _reduce_weak_key_dictionary(obj: Any) -> tuple[Any, ...]:
    # functools.singledispatch has one.
    return weakref.WeakKeyDictionary, (dict(obj.items()),)


#: In place of cloudpickle's, by exact type.
REDUCERS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    io.TextIOWrapper: _reduce_text_file,
    logging.Logger: _reduce_logger,
    types.CodeType: _reduce_code,
    memoryview: _reduce_memoryview,
    types.GetSetDescriptorType: _reduce_descriptor,
    types.MemberDescriptorType: _reduce_descriptor,
    types.MappingProxyType: _reduce_mapping_proxy,
    typing.TypeVar: _reduce_type_variable_by_name,
    weakref.WeakKeyDictionary: _reduce_weak_key_dictionary,
}
