"""What `install()` and `uninstall()` do.

`install()` makes the executors of `concurrent.futures`, the threads and locks of `threading`, the
queues of `queue` and the processes and shared objects of `multiprocessing` ours, for the program,
the libraries it imports and asyncio's default executor; `uninstall()` puts the standard ones back.

Guarantees:
- Lazy: a program that never uses one of the modules never loads ours. Modules that are not
  imported yet are patched when they are (an import hook); executors are loaded when they are first
  looked up.
- Idempotent and thread-safe. No import happens while this module's lock is held, so an import
  that another thread has under way cannot deadlock with it.
- A module-level name that an earlier `from concurrent.futures import ...` took is replaced, in
  every loaded module, and restored by `uninstall()`.
- A replaced name to which somebody else assigned in between is left alone.
- Processes start by the template unless the program chooses a start method.
- Every thread object, made before or after, is an instance of `threading.Thread`: subclasses that
  exist become subclasses of ours, and threads of the standard class itself become ours.

What it does not do:
- It replaces no other instance, and no other base class that exists: an executor or a lock made
  before, a subclass of an executor, event or queue defined before, a name kept in a local variable,
  a default argument or an attribute stay as they were. A subclass defined *after* `install()` is a
  subclass of ours: one that relies on private attributes of the standard class does not work.
- `concurrent.futures._base`, a private module, keeps the standard `wait` and `as_completed`.
- `uninstall()` leaves a name that was imported while ours were installed.
- It reaches this process, its `multiprocessing` children and the workers of its pools, not the
  interpreters that the program starts otherwise.
"""

import _thread  # `threading` costs a millisecond of start-up that not every program owes.
import importlib
import sys
from types import ModuleType

from manyhands._drop_in.import_hook import AfterImport
from manyhands._drop_in.journal import ABSENT, Journal
from manyhands._drop_in.multiprocessing_package import (
    SUBMODULES,
    PatchedPackage,
    PatchedSubmodule,
    is_ready,
    rebase,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = ["install", "is_installed", "uninstall"]

# Which names of which standard modules become ours.
REPLACED = {
    "concurrent.futures": (
        "ThreadPoolExecutor",
        "ProcessPoolExecutor",
        "wait",
        "as_completed",
    ),
    "concurrent.futures.thread": ("ThreadPoolExecutor",),
    "concurrent.futures.process": ("ProcessPoolExecutor",),
    "queue": (
        "Queue",
        "LifoQueue",
        "PriorityQueue",
        *(("ShutDown",) if sys.version_info < (3, 13) else ()),
    ),
    "threading": (
        "Barrier",
        "BoundedSemaphore",
        "Condition",
        "Event",
        "Lock",
        "RLock",
        "Semaphore",
        "Thread",
        "Timer",
        "_CRLock",
    ),
}
OURS = {
    "concurrent.futures": "manyhands.futures",
    "concurrent.futures.thread": "manyhands.futures",
    "concurrent.futures.process": "manyhands.futures",
    "queue": "manyhands.queue",
    "threading": "manyhands._drop_in.threading_names",
}
# It looks its own names up as globals, which a module's `__getattr__` does not supply.
EAGER = ("threading",)
# Patched as a whole, see `multiprocessing_package`; the second name: when ours is complete, should
# it be ours that imports it.
PACKAGE = "multiprocessing"
OUR_PACKAGE = "manyhands.multiprocessing"
# Looking a class up in the package loads its submodule, and programs rely on finding it there.
DEFINED_IN = {
    "ThreadPoolExecutor": "concurrent.futures.thread",
    "ProcessPoolExecutor": "concurrent.futures.process",
}
# Modules that must keep what they have: the standard implementation, and our own.
NEVER_SEARCHED = ("concurrent.futures", "manyhands", "multiprocessing", "queue", "threading")
# Defines a subclass of the standard ThreadPoolExecutor that relies on its private methods (3.14),
# so it has to exist before that name becomes ours.
SUBCLASSES_STANDARD = "concurrent.futures.interpreter"

_PATCHED = (*REPLACED, PACKAGE, *SUBMODULES)
_lock = _thread.allocate_lock()


class _LazyModule:
    """One standard module while its names are ours.

    The names are taken out of the module, and a module-level `__getattr__` supplies ours on
    first use. That keeps the patch free of imports: it also runs while `manyhands.futures`
    itself is being imported and imports the standard module.
    """

    def __init__(self, module: ModuleType, names: tuple[str, ...], journal: Journal) -> None:
        self.module = module
        self.journal = journal
        namespace = vars(module)
        self.standard = {name: namespace.get(name, ABSENT) for name in names}
        self.standard_getattr = namespace.get("__getattr__", ABSENT)
        # First, and taken back last: other threads never find a name missing.
        journal.set(module, "__getattr__", self.supply)
        for name in names:
            journal.set(module, name, ABSENT)

    def supply(self, name: str) -> object:
        """The module's `__getattr__`: our object for a replaced name."""
        if name in self.standard:
            if name in DEFINED_IN:
                importlib.import_module(DEFINED_IN[name])
            ours: object = getattr(importlib.import_module(OURS[self.module.__name__]), name)
            with _lock:
                if _state.patched.get(self.module.__name__) is self:
                    # From now on the module finds the name without asking.
                    return self.journal.supplied(self.module, name, ours)
            return ours
        if callable(self.standard_getattr):
            supplied: object = self.standard_getattr(name)
            return supplied
        raise AttributeError(f"module {self.module.__name__!r} has no attribute {name!r}")


class _EagerModule:
    """One standard module whose names have become `ours`."""

    def __init__(
        self, module: ModuleType, names: tuple[str, ...], ours: ModuleType, journal: Journal
    ) -> None:
        replacement = {name: getattr(ours, name) for name in names}
        self.standard = {name: journal.set(module, name, replacement[name]) for name in names}
        for name in ("Thread", "Timer"):
            rebase(self.standard[name], replacement[name], journal)
        _adopt(module, self.standard["Thread"], replacement["Thread"], journal)
        for value in replacement.values():
            # A program may ask where the names of the module are from.
            if isinstance(value, type) and value.__module__ != module.__name__:
                journal.set(value, "__module__", module.__name__)


_Patched: "TypeAlias" = "_LazyModule | _EagerModule | PatchedPackage | PatchedSubmodule"


class _State:
    """What `install()` changed, and what `uninstall()` has to undo; guarded by `_lock`."""

    def __init__(self) -> None:
        self.hook: AfterImport | None = None
        self.patched: dict[str, _Patched] = {}
        self.journal = Journal()


_state = _State()


def install() -> None:
    """Makes executors, threads, locks, queues and processes ours, until `uninstall()`.

    Processes and workers of pools that are started from now on do the same.

    Call it first thing in a program, before other imports: names that modules took earlier are
    replaced as well, but not copies in local variables, default arguments and base classes.
    Calling it again does nothing.

    >>> import concurrent.futures, manyhands, manyhands.futures
    >>> manyhands.install()
    >>> concurrent.futures.ThreadPoolExecutor is manyhands.futures.ThreadPoolExecutor
    True
    >>> manyhands.uninstall()
    """
    with _lock:
        if _state.hook is None:
            _state.hook = AfterImport(dict.fromkeys([*_PATCHED, OUR_PACKAGE], _patch))
            sys.meta_path.insert(0, _state.hook)
    for name in _PATCHED:
        if name in sys.modules:
            # Waits for the end of an import that another thread has under way.
            _patch(importlib.import_module(name))
    _replace_early_names()


def uninstall() -> None:
    """Puts the standard classes back under their names.

    Objects that exist go on working, and names that were imported while ours were installed
    stay ours. Does nothing if ours are not installed.

    >>> import concurrent.futures, manyhands
    >>> manyhands.install()
    >>> manyhands.uninstall()
    >>> concurrent.futures.ThreadPoolExecutor.__module__
    'concurrent.futures.thread'
    """
    global _state
    with _lock:
        if _state.hook is None:
            return
        # Not `remove`: an import in another thread goes through the list, and would miss the
        # finder that moves up.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not _state.hook]
        package = _state.patched.get(PACKAGE)
        if isinstance(package, PatchedPackage):
            package.hand_back_the_choice()
        _state.journal.undo()
        _state = _State()


def is_installed() -> bool:
    """Whether the standard modules' names are ours in this process.

    >>> import manyhands
    >>> manyhands.is_installed()
    False
    """
    return _state.hook is not None


def standard(module: ModuleType, name: str) -> object:
    """What `module` calls `name` by itself, also while ours has that name."""
    with _lock:
        patched = _state.patched.get(module.__name__)
        if patched is not None and name in patched.standard:
            return patched.standard[name]
    value: object = getattr(module, name)
    return value


def _patch(module: ModuleType) -> None:
    """Takes over the names of one of the standard modules; called again, does nothing."""
    name = module.__name__
    if name == OUR_PACKAGE:
        module, name = sys.modules[PACKAGE], PACKAGE
    if name == "concurrent.futures.thread" and sys.version_info >= (3, 14):
        try:
            importlib.import_module(SUBCLASSES_STANDARD)
        except ImportError:
            pass  # A Python built without subinterpreters.
    ours = None
    if name in EAGER:
        # What ours are made of: looked up before the names change.
        importlib.import_module("manyhands._drop_in.std_threading")
        try:
            ours = importlib.import_module(OURS[name])
        except ImportError as error:
            if "subinterpreters" not in str(error):
                raise
            return  # The compiled runtime serves the main interpreter: this one keeps its own.
    if name == PACKAGE:
        if not is_ready():
            return  # Ours is being imported, and tells when it is complete.
        ours = importlib.import_module(OUR_PACKAGE)
    with _lock:
        if _state.hook is None or name in _state.patched:
            return
        _state.patched[name] = _patched(module, ours)


def _patched(module: ModuleType, ours: ModuleType | None) -> "_Patched":
    name, journal = module.__name__, _state.journal
    if name in SUBMODULES:
        return PatchedSubmodule(module, SUBMODULES[name], journal)
    if ours is None:
        return _LazyModule(module, REPLACED[name], journal)
    if name == PACKAGE:
        return PatchedPackage(module, ours, journal)
    return _EagerModule(module, REPLACED[name], ours, journal)


def _adopt(threading: ModuleType, standard: object, ours: object, journal: Journal) -> None:
    """Makes threads that are exactly of the standard class ours."""
    # Copied in one step: other threads make threads meanwhile.
    references = list(threading._dangling.data)
    for thread in [ref() for ref in references]:
        if type(thread) is standard:
            journal.set(thread, "__class__", ours, weakly=True)


def _replace_early_names() -> None:
    """Replaces what modules took with `from concurrent.futures import ...` before `install()`."""
    with _lock:
        standard = {
            id(value): (module_name, name, value)
            for module_name, patched in _state.patched.items()
            for name, value in patched.standard.items()
            if value is not ABSENT
        }
    found = [
        (module, name, *standard[id(value)])
        for module in _searched_modules()
        for name, value in list(vars(module).items())  # Other threads may import meanwhile.
        if id(value) in standard
        and not (standard[id(value)][0] in EAGER and _is_standard_module(module))
    ]
    if not found:
        return
    ours = {
        (found_in, standard_name): _replacement(found_in, standard_name)
        for _, _, found_in, standard_name, _ in found
    }
    with _lock:
        if not is_installed():  # Another thread uninstalled meanwhile.
            return
        for module, name, found_in, standard_name, value in found:
            if vars(module).get(name) is value:
                _state.journal.set(module, name, ours[found_in, standard_name])


def _replacement(module_name: str, name: str) -> object:
    """Our object for a name of a standard module."""
    patched = _state.patched.get(module_name)
    if isinstance(patched, (PatchedPackage, PatchedSubmodule)):
        return patched.ours(name)
    ours: object = getattr(importlib.import_module(OURS[module_name]), name)
    return ours


def _searched_modules() -> list[ModuleType]:
    loaded: dict[str, object] = dict(sys.modules)  # Programs put more than modules there.
    return [
        module
        for name, module in loaded.items()
        if isinstance(module, ModuleType)
        and not any(name == top or name.startswith(top + ".") for top in NEVER_SEARCHED)
    ]


def _is_standard_module(module: ModuleType) -> bool:
    """Whether it is the standard library's.

    `_thread` has some of the very same objects, and the import system takes its locks from there.
    """
    return module.__name__.partition(".")[0] in sys.stdlib_module_names
