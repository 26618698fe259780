"""What `install()` changes in `multiprocessing`: its functions, contexts, classes and submodules.

Guarantees: the functions of the package are those of our default context, also for who took one
earlier; contexts that exist make our objects; subclasses of the standard process classes become
subclasses of ours; the names of a submodule (``multiprocessing.queues.Queue``) are ours for who
looks them up, while the standard module itself goes on with its own. All of it is undone by
`restore`.

Does not do: change objects that exist. A start method that the program chose before stays chosen.
"""

from __future__ import annotations

import importlib
import sys

# `typing` costs milliseconds that not every program owes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    Rebase = Callable[[object, object], list[tuple[type, tuple[type, ...]]]]

#: Which names of the submodules are ours. Ours have the same names; one that is missing there
#: stays the standard one. Not `shared_memory`: its names are a promise to processes outside of the
#: family, and to the resource tracker, which only the standard blocks keep.
SUBMODULES = {
    # Ours is a subclass of the standard Connection, which Client and Listener still make.
    "multiprocessing.connection": ("Pipe", "wait"),
    # The standard proxies are for managers of the program's own, which stay the standard ones.
    "multiprocessing.managers": ("SyncManager",),
    "multiprocessing.pool": (
        *("ApplyResult", "AsyncResult", "IMapIterator", "IMapUnorderedIterator", "MapResult"),
        *("MaybeEncodingError", "Pool", "ThreadPool"),
    ),
    "multiprocessing.queues": ("JoinableQueue", "Queue", "SimpleQueue"),
    "multiprocessing.sharedctypes": (
        *("Array", "RawArray", "RawValue", "Value"),
        *("copy", "synchronized"),
    ),
    "multiprocessing.synchronize": (
        *("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"),
    ),
}

_FACTORIES = (
    *("Array", "Barrier", "BoundedSemaphore", "Condition", "Event", "JoinableQueue", "Lock"),
    *("Manager", "Pipe", "Pool", "Queue", "RLock", "RawArray", "RawValue", "Semaphore"),
    *("SimpleQueue", "Value", "set_forkserver_preload"),
)
_PROCESS_CLASSES = ("Process", "ForkProcess", "ForkServerProcess", "SpawnProcess")
_ABSENT = object()


def is_ready() -> bool:
    """Whether our package is not just being imported, by which the standard one is."""
    ours = sys.modules.get("manyhands.multiprocessing")
    return ours is None or hasattr(ours, "SUBWARNING")


class PatchedPackage:
    """`multiprocessing` itself and its contexts, while they are ours."""

    def __init__(self, package: ModuleType, ours: ModuleType, rebase: Rebase) -> None:
        self.package = package
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._contexts: Any = package.context
        self._our_contexts: Any = ours.context
        self.standard: dict[str, Any] = {}
        names: list[str] = ours.__all__
        for name in names:
            before, replacement = getattr(package, name, _ABSENT), getattr(ours, name)
            # A setting of all contexts, and the methods that a program written for the standard
            # module may know.
            is_kept = name in ("reducer", "get_all_start_methods")
            if before is not replacement and not is_kept:
                self.standard[name] = before
                self._set(package, name, replacement)
        self._set(package, "__all__", list(names))
        self._keep_chosen_method()
        self._patch_contexts(rebase)

    def _keep_chosen_method(self) -> None:
        standard, ours = self._contexts._default_context, self._our_contexts._default_context
        chosen = standard._actual_context
        self._chosen_before = ours._actual_context
        if chosen is not None:
            ours._actual_context = self._our_contexts._concrete_contexts[chosen._name]

    def _patch_contexts(self, rebase: Rebase) -> None:
        contexts, ours = self._contexts, self._our_contexts
        for name in _FACTORIES:
            self._set(contexts.BaseContext, name, vars(ours.Factories)[name])
        self.rebased = []
        for name in _PROCESS_CLASSES:
            standard, replacement = getattr(contexts, name), getattr(ours, name)
            self.rebased += rebase(standard, replacement)
            self._set(contexts, name, replacement)
        for context in (contexts.ForkContext, contexts.SpawnContext, contexts.ForkServerContext):
            name = context.Process.__name__
            self._set(context, "Process", getattr(ours, name))
        for name in ("_concrete_contexts", "_default_context"):
            self._set(contexts, name, getattr(ours, name))

    def _set(self, owner: Any, name: str, value: Any) -> None:
        self._undo.append((owner, name, vars(owner).get(name, _ABSENT), value))
        setattr(owner, name, value)

    def ours(self, name: str) -> Any:
        """What a name of the package is now."""
        return getattr(self.package, name)

    def restore(self) -> None:
        """Puts the standard objects back, except over what others assigned meanwhile."""
        chosen = self._our_contexts._default_context._actual_context
        for owner, name, before, ours in reversed(self._undo):
            if vars(owner).get(name) is not ours:
                continue
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        for subclass, bases in self.rebased:
            subclass.__bases__ = bases
        self._our_contexts._default_context._actual_context = self._chosen_before
        known = self._contexts._concrete_contexts
        name = chosen._name if chosen is not None else None
        self._contexts._default_context._actual_context = known.get(name)


class PatchedSubmodule:
    """One submodule of `multiprocessing` whose names are ours for who looks them up.

    The module's own functions find the standard objects, as they look in its dictionary; everybody
    else asks the module, whose class answers. Ours is imported at the first such question.
    """

    def __init__(self, module: ModuleType, names: tuple[str, ...]) -> None:
        self.module = module
        namespace = vars(module)
        self.standard = {name: namespace[name] for name in names if name in namespace}
        answers = {name: _answer(self, name) for name in self.standard}
        self._class = type(module)
        module.__class__ = type("module", (self._class,), answers)

    def ours(self, name: str) -> Any:
        """Our object of that name; the standard one while ours is being imported."""
        standard = self.standard[name]
        tail = self.module.__name__.partition(".")[2]
        if _is_being_imported(f"manyhands._mp.{tail}"):
            return standard
        ours = importlib.import_module(f"manyhands.multiprocessing.{tail}")
        return getattr(ours, name, standard)

    def restore(self) -> None:
        """The module answers for itself again; what others assigned stays."""
        self.module.__class__ = self._class


def _is_being_imported(name: str) -> bool:
    """Whether the module is under way: what it takes from the standard one is standard."""
    module = sys.modules.get(name)
    return module is not None and bool(getattr(module.__spec__, "_initializing", False))


def _answer(patched: PatchedSubmodule, name: str) -> property:
    def get(module: ModuleType) -> Any:
        current = vars(module).get(name, _ABSENT)
        if current is patched.standard[name]:
            return patched.ours(name)
        if current is _ABSENT:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        return current

    def set_it(module: ModuleType, value: Any) -> None:
        vars(module)[name] = value

    def delete(module: ModuleType) -> None:
        vars(module).pop(name, None)

    return property(get, set_it, delete)
