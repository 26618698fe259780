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

from manyhands._drop_in.journal import ABSENT

# `typing` costs milliseconds that not every program owes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from manyhands._drop_in.journal import Journal

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

#: Where ours are made. While one of these is being imported, it finds the standard names.
_MADE_IN = {
    "multiprocessing.connection": "manyhands._mp.connection",
    "multiprocessing.managers": "manyhands._mp.managed.managers",
    "multiprocessing.pool": "manyhands._mp.pools.pool",
    "multiprocessing.queues": "manyhands._queues.process_queue",
    "multiprocessing.sharedctypes": "manyhands._mp.sharing.sharedctypes",
    "multiprocessing.synchronize": "manyhands._mp.sharing.synchronize",
}

_FACTORIES = (
    *("Array", "Barrier", "BoundedSemaphore", "Condition", "Event", "JoinableQueue", "Lock"),
    *("Manager", "Pipe", "Pool", "Queue", "RLock", "RawArray", "RawValue", "Semaphore"),
    *("SimpleQueue", "Value", "set_forkserver_preload"),
)
_PROCESS_CLASSES = ("Process", "ForkProcess", "ForkServerProcess", "SpawnProcess")


def is_ready() -> bool:
    """Whether our package is not just being imported, by which the standard one is."""
    ours = sys.modules.get("manyhands.multiprocessing")
    return ours is None or hasattr(ours, "SUBWARNING")


def rebase(standard: object, ours: object, journal: Journal) -> None:
    """Derives the subclasses of `standard` that exist from `ours`.

    Programs call `threading.Thread.__init__(self)` by that name, and so does `threading` itself:
    then `self` must be one of ours.
    """
    if not isinstance(standard, type) or not isinstance(ours, type):
        return
    subclasses: list[type] = standard.__subclasses__()
    for subclass in subclasses:
        if subclass is ours or issubclass(ours, subclass):
            continue
        bases = tuple(ours if base is standard else base for base in subclass.__bases__)
        try:
            journal.set(subclass, "__bases__", bases)
        except TypeError:
            continue  # Its layout does not allow it: it stays a subclass of the standard one.


class PatchedPackage:
    """`multiprocessing` itself and its contexts, while they are ours."""

    def __init__(self, package: ModuleType, ours: ModuleType, journal: Journal) -> None:
        self.package = package
        self._contexts: Any = package.context
        self._our_contexts: Any = ours.context
        self.standard: dict[str, Any] = {}
        names: list[str] = ours.__all__
        for name in names:
            before, replacement = getattr(package, name, ABSENT), getattr(ours, name)
            # A setting of all contexts, and the methods that a program written for the standard
            # module may know.
            is_kept = name in ("reducer", "get_all_start_methods")
            if before is not replacement and not is_kept:
                self.standard[name] = before
                journal.set(package, name, replacement)
        journal.set(package, "__all__", list(names))
        self._keep_chosen_method()
        # As they are before they are replaced.
        self._standard_default = self._contexts._default_context
        self._standard_contexts = self._contexts._concrete_contexts
        self._patch_contexts(journal)

    def _keep_chosen_method(self) -> None:
        standard, ours = self._contexts._default_context, self._our_contexts._default_context
        chosen = standard._actual_context
        self._chosen_before = ours._actual_context
        if chosen is not None:
            ours._actual_context = self._our_contexts._concrete_contexts[chosen._name]

    def _patch_contexts(self, journal: Journal) -> None:
        contexts, ours = self._contexts, self._our_contexts
        for name in _FACTORIES:
            journal.set(contexts.BaseContext, name, vars(ours.Factories)[name])
        for name in _PROCESS_CLASSES:
            standard, replacement = getattr(contexts, name), getattr(ours, name)
            rebase(standard, replacement, journal)
            journal.set(contexts, name, replacement)
        for context in (contexts.ForkContext, contexts.SpawnContext, contexts.ForkServerContext):
            name = context.Process.__name__
            journal.set(context, "Process", getattr(ours, name))
        for name in ("_concrete_contexts", "_default_context"):
            journal.set(contexts, name, getattr(ours, name))

    def ours(self, name: str) -> Any:
        """What a name of the package is now."""
        return getattr(self.package, name)

    def hand_back_the_choice(self) -> None:
        """Lets the standard package have the start method that the program chose with ours."""
        ours, standard = self._our_contexts._default_context, self._standard_default
        chosen = ours._actual_context
        ours._actual_context = self._chosen_before
        name = chosen._name if chosen is not None else None
        standard._actual_context = self._standard_contexts.get(name)


class PatchedSubmodule:
    """One submodule of `multiprocessing` whose names are ours for who looks them up.

    The module's own functions find the standard objects, as they look in its dictionary; everybody
    else asks the module, whose class answers. Ours is imported at the first such question.
    """

    def __init__(self, module: ModuleType, names: tuple[str, ...], journal: Journal) -> None:
        self.module = module
        namespace = vars(module)
        self.standard = {name: namespace[name] for name in names if name in namespace}
        answers = {name: _answer(self, name) for name in self.standard}
        journal.set(module, "__class__", type("module", (type(module),), answers))

    def ours(self, name: str) -> Any:
        """Our object of that name; the standard one while ours is being imported."""
        standard = self.standard[name]
        if _is_being_imported(_MADE_IN[self.module.__name__]):
            return standard
        ours = importlib.import_module(f"manyhands.{self.module.__name__}")
        return getattr(ours, name, standard)


def _is_being_imported(name: str) -> bool:
    """Whether the module is under way: what it takes from the standard one is standard."""
    module = sys.modules.get(name)
    return module is not None and bool(getattr(module.__spec__, "_initializing", False))


def _answer(patched: PatchedSubmodule, name: str) -> property:
    def get(module: ModuleType) -> Any:
        current = vars(module).get(name, ABSENT)
        if current is patched.standard[name]:
            return patched.ours(name)
        if current is ABSENT:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        return current

    def set_it(module: ModuleType, value: Any) -> None:
        vars(module)[name] = value

    def delete(module: ModuleType) -> None:
        vars(module).pop(name, None)

    return property(get, set_it, delete)
