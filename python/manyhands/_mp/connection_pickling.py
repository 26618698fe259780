"""How connections pickle what is not simple: the runtime calls this when its own way does not do.

Guarantees:
    Reducers that were registered with ``multiprocessing.reduction`` are used, so sockets, and
    classes of libraries such as PyTorch, travel as through a standard connection. What that
    refuses (lambdas, closures, classes inside of functions), and what belongs to ``__main__``, is
    pickled by value.

Does not do: decide where bytes go.
"""

from __future__ import annotations

import copyreg
import io
import pickle as _pickle
from multiprocessing import connection as _std_connection  # noqa: F401 - registers its reducers
from multiprocessing.reduction import ForkingPickler
from typing import Any

from manyhands._pickling import (
    codec,
    main_objects,  # noqa: F401 - imported first by a message, a fork could catch it half-done
)

__all__ = ["dumps", "has_other_reducers", "loads", "pickle", "reducers"]

reducers: dict[type, Any] = ForkingPickler._extra_reducers  # type: ignore[attr-defined]

# What the C pickler does as well, or refuses, so that `dumps` is asked.
_known: dict[type, Any] = dict(reducers)
_last_seen = len(_known)
_has_others = False

loads = _pickle.loads


def has_other_reducers() -> bool:
    """Whether somebody registered a reducer that the plain pickler does not know of."""
    global _last_seen, _has_others
    if len(reducers) != _last_seen:
        _last_seen = len(reducers)
        _has_others = any(cls not in _known for cls in list(reducers))
    return _has_others


def dumps(obj: Any, buffers: list[Any]) -> bytes:
    """Pickle `obj` as ``multiprocessing`` does, or by value; large buffers go to `buffers`.

    Called for what plain pickle refuses, or names ``__main__`` in, or may not know reducers for.

    Raises:
        What pickling by value raises.
    """
    if has_other_reducers():
        stream = io.BytesIO()
        pickler = _pickle.Pickler(stream, 5, buffer_callback=buffers.append)
        # What `ForkingPickler` does, with large buffers out of band.
        pickler.dispatch_table = copyreg.dispatch_table | reducers
        try:
            pickler.dump(obj)
            data = stream.getvalue()
            if b"__main__" not in data:
                return data
        except Exception:
            pass  # By value, perhaps.
        del buffers[:]
    return codec.dumps_main(obj, buffers)


def pickle(obj: Any) -> bytes:
    """Pickle `obj` into one stream that ``pickle.loads`` reads."""
    return bytes(ForkingPickler.dumps(obj))


codec.register_connection_reducers()
