"""The drop-in: our executors under the names of `concurrent.futures`, for a whole program.

`install()` makes `concurrent.futures.ThreadPoolExecutor`, `.ProcessPoolExecutor`, `.wait` and
`.as_completed` ours, for the program, the libraries it imports and asyncio's default executor;
`uninstall()` puts the standard ones back.

Guarantees:
- Lazy: a program that never uses an executor never loads ours. Modules that are not imported yet
  are patched when they are (an import hook); names are looked up when they are first used.
- Idempotent and thread-safe. No import happens while this module's lock is held, so an import
  that another thread has under way cannot deadlock with it.
- A module-level name that an earlier `from concurrent.futures import ...` took is replaced, in
  every loaded module, and restored by `uninstall()`.
- A replaced name to which somebody else assigned in between is left alone.

What it does not do:
- It replaces no instance and no base class that exists: an executor made before, a subclass
  defined before, a name kept in a local variable, a default argument or an attribute stay as they
  were. A subclass defined *after* `install()` is a subclass of ours: one that relies on private
  attributes of the standard class does not work.
- `concurrent.futures._base`, a private module, keeps the standard `wait` and `as_completed`.
- `uninstall()` leaves a name that was imported while ours were installed.
- It reaches this process and the workers of its process pools, not the interpreters that the
  program starts otherwise.

The classes mirror https://docs.python.org/3/library/concurrent.futures.html.
"""

import _thread  # `threading` costs a millisecond of start-up that not every program owes.
import importlib
import sys
from types import ModuleType

from manyhands._import_hook import AfterImport

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
}
OURS = "manyhands.futures"
# Looking a class up in the package loads its submodule, and programs rely on finding it there.
DEFINED_IN = {
    "ThreadPoolExecutor": "concurrent.futures.thread",
    "ProcessPoolExecutor": "concurrent.futures.process",
}
# Modules that must keep what they have: the standard implementation, and our own.
NEVER_SEARCHED = ("concurrent.futures", "manyhands")
# Defines a subclass of the standard ThreadPoolExecutor that relies on its private methods (3.14),
# so it has to exist before that name becomes ours.
SUBCLASSES_STANDARD = "concurrent.futures.interpreter"

_ABSENT = object()
_lock = _thread.allocate_lock()


class _PatchedModule:
    """One standard module while its names are ours.

    The names are taken out of the module, and a module-level `__getattr__` supplies ours on
    first use. That keeps the patch free of imports: it also runs while `manyhands.futures`
    itself is being imported and imports the standard module.
    """

    def __init__(self, module: ModuleType, names: tuple[str, ...]) -> None:
        self.module = module
        namespace = vars(module)
        self.standard = {name: namespace.pop(name, _ABSENT) for name in names}
        self.standard_getattr = namespace.get("__getattr__", _ABSENT)
        namespace["__getattr__"] = self.supply

    def supply(self, name: str) -> object:
        """The module's `__getattr__`: our object for a replaced name."""
        if name in self.standard:
            if name in DEFINED_IN:
                importlib.import_module(DEFINED_IN[name])
            ours: object = getattr(importlib.import_module(OURS), name)
            with _lock:
                if _state.patched.get(self.module.__name__) is self:
                    # From now on the module finds the name without asking.
                    return vars(self.module).setdefault(name, ours)
            return ours
        if callable(self.standard_getattr):
            supplied: object = self.standard_getattr(name)
            return supplied
        raise AttributeError(f"module {self.module.__name__!r} has no attribute {name!r}")

    def restore(self, ours: ModuleType | None) -> None:
        """Puts the standard objects back, except over what others assigned meanwhile."""
        namespace = vars(self.module)
        for name, standard in self.standard.items():
            current = namespace.get(name, _ABSENT)
            if current is _ABSENT or current is getattr(ours, name, _ABSENT):
                _set(namespace, name, standard)
        if namespace.get("__getattr__") == self.supply:
            _set(namespace, "__getattr__", self.standard_getattr)


class _State:
    """What `install()` changed, and what `uninstall()` has to undo; guarded by `_lock`."""

    def __init__(self) -> None:
        self.hook: AfterImport | None = None
        self.patched: dict[str, _PatchedModule] = {}
        self.early_names: list[tuple[ModuleType, str, object, object]] = []


_state = _State()


def install() -> None:
    """Makes the executors of `concurrent.futures` ours, in this process, until `uninstall()`.

    Workers of process pools that get their first task from now on do the same.

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
            _state.hook = AfterImport(dict.fromkeys(REPLACED, _patch))
            sys.meta_path.insert(0, _state.hook)
    for name in REPLACED:
        if name in sys.modules:
            # Waits for the end of an import that another thread has under way.
            _patch(importlib.import_module(name))
    _replace_early_names()


def uninstall() -> None:
    """Puts the standard executors back under their names.

    Executors that exist go on working, and names that were imported while ours were installed
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
        if _state.hook in sys.meta_path:
            sys.meta_path.remove(_state.hook)
        ours = sys.modules.get(OURS)
        for patched in _state.patched.values():
            patched.restore(ours)
        for module, name, standard, replacement in _state.early_names:
            if vars(module).get(name) is replacement:
                vars(module)[name] = standard
        _state = _State()


def is_installed() -> bool:
    """Whether the names of `concurrent.futures` are ours in this process.

    >>> import manyhands
    >>> manyhands.is_installed()
    False
    """
    return _state.hook is not None


def _patch(module: ModuleType) -> None:
    """Takes over the names of one of the standard modules; called again, does nothing."""
    name = module.__name__
    if name == "concurrent.futures.thread" and sys.version_info >= (3, 14):
        try:
            importlib.import_module(SUBCLASSES_STANDARD)
        except ImportError:
            pass  # A Python built without subinterpreters.
    with _lock:
        if _state.hook is not None and name not in _state.patched:
            _state.patched[name] = _PatchedModule(module, REPLACED[name])


def _replace_early_names() -> None:
    """Replaces what modules took with `from concurrent.futures import ...` before `install()`."""
    with _lock:
        standard = {
            id(value): (name, value)
            for patched in _state.patched.values()
            for name, value in patched.standard.items()
            if value is not _ABSENT
        }
    found = [
        (module, name, *standard[id(value)])
        for module in _searched_modules()
        for name, value in list(vars(module).items())  # Other threads may import meanwhile.
        if id(value) in standard
    ]
    if not found:
        return
    ours = importlib.import_module(OURS)
    with _lock:
        if not is_installed():  # Another thread uninstalled meanwhile.
            return
        for module, name, standard_name, value in found:
            if vars(module).get(name) is value:
                replacement = getattr(ours, standard_name)
                vars(module)[name] = replacement
                _state.early_names.append((module, name, value, replacement))


def _searched_modules() -> list[ModuleType]:
    loaded: dict[str, object] = dict(sys.modules)  # Programs put more than modules there.
    return [
        module
        for name, module in loaded.items()
        if isinstance(module, ModuleType)
        and not any(name == top or name.startswith(top + ".") for top in NEVER_SEARCHED)
    ]


def _set(namespace: dict[str, object], name: str, value: object) -> None:
    if value is _ABSENT:
        namespace.pop(name, None)
    else:
        namespace[name] = value
