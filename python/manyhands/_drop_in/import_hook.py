"""An import hook that calls a function with a module right after the module was executed.

Guarantees: the module is found and loaded by whoever would have found it without the hook, and
shows no trace of the hook afterwards (`__loader__` and `__spec__.loader` are the original's); the
callback has returned before any importer sees the module; a module that fails to load is not
reported.

What it does not do: it says nothing about modules that are loaded already.
"""

import sys
from collections.abc import Callable, Sequence
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


class AfterImport:
    """A finder for `sys.meta_path`: `callbacks[name]` is called with the module of that name."""

    def __init__(self, callbacks: dict[str, Callable[[ModuleType], None]]) -> None:
        self.callbacks = callbacks

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> "ModuleSpec | None":
        """Asks the other finders, and has the loader they name call back."""
        callback = self.callbacks.get(name)
        if callback is None:
            return None
        # Those after this one, among them other hooks: each of them calls back.
        finders = list(sys.meta_path)
        for finder in finders[finders.index(self) + 1 :] if self in finders else ():
            find_spec = getattr(finder, "find_spec", None)
            if find_spec is None:
                continue
            spec: ModuleSpec | None = find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Reporting(spec.loader, callback)  # type: ignore[assignment]
                return spec
        return None

    def invalidate_caches(self) -> None:
        """Nothing is cached here."""


class _Reporting:
    """A loader that does what `loader` does, steps aside, and calls `callback`.

    It is no `importlib.abc.Loader`: importing that module costs more than this one.
    """

    def __init__(self, loader: object, callback: Callable[[ModuleType], None]) -> None:
        self.loader = loader
        self.callback = callback

    def create_module(self, spec: "ModuleSpec") -> ModuleType | None:
        created: ModuleType | None = self.loader.create_module(spec)  # type: ignore[attr-defined]
        return created

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader  # type: ignore[assignment]
        module.__loader__ = self.loader  # type: ignore[assignment]
        self.loader.exec_module(module)  # type: ignore[attr-defined]
        self.callback(module)

    def __getattr__(self, name: str) -> object:
        # What else a loader may offer (is_package, get_source, ...) is the original's to answer.
        return getattr(self.loader, name)
