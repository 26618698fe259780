"""`multiprocessing` on the family heap: the same names and signatures, without the traps.

Processes are forked from a clean template by default; queues have no feeder thread; locks survive
the death of their owner; shared objects may be sent anywhere within the family. What is not
reimplemented is the standard module's own.

Mirrors https://docs.python.org/3/library/multiprocessing.html. Differences: docs/processes.md.

>>> from manyhands import multiprocessing
>>> process = multiprocessing.Process(target=pow, args=(2, 10))
>>> process.start()
>>> process.result()
1024
"""

import importlib

from manyhands.multiprocessing import context, process, reduction

# As in the standard module: every public attribute of the default context is a name here.
__all__ = [name for name in dir(context._default_context) if not name.startswith("_")]
globals().update((name, getattr(context._default_context, name)) for name in __all__)

#: Levels of `get_logger`'s logger below those of `logging`.
SUBDEBUG = 5
SUBWARNING = 25

_SUBMODULES = frozenset(
    {
        "connection",
        "dummy",
        "forkserver",
        "heap",
        "managers",
        "pool",
        "popen_fork",
        "popen_forkserver",
        "popen_spawn_posix",
        "queues",
        "resource_sharer",
        "resource_tracker",
        "shared_memory",
        "sharedctypes",
        "spawn",
        "synchronize",
        "util",
    }
)


def __getattr__(name: str) -> object:
    # Those that the standard module has as soon as something used them, programs count on.
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "HandleError":
        from manyhands._errors.shared_objects import HandleError

        return HandleError
    if name == "LostUpdateError":
        from manyhands._errors.lost_updates import LostUpdateError

        return LostUpdateError
    if name in ("lost_update_mode", "set_lost_update_mode"):
        from manyhands import _runtime

        return getattr(_runtime, name)
    if name in ("OwnerDied", "owner_died_mode", "set_owner_died_mode"):
        from manyhands._mp.sharing import owner_died

        return getattr(owner_died, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
