"""The child's ``__main__``: filled by what arrives, and by the parent's script only if it must be.

Functions and classes of ``__main__`` travel by value, so a script needs no guard, and nothing of it
runs twice. A pickle made elsewhere (a standard queue's, a file's) may still name something in
``__main__``: the first such name that is missing imports the parent's script once, as
``__mp_main__``, which is what the standard module does for every child.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any


def describe() -> dict[str, str]:
    """How a child can import the main module of this program; empty if it cannot.

    What `multiprocessing.spawn.get_preparation_data` says of it. That function also settles the
    standard package's start method, if the program has not chosen one, and pools follow that.
    """
    from multiprocessing import process

    if getattr(process.current_process(), "_inheriting", False):
        return {}  # This process imports its own parent's script at the moment.
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None:
        return {"init_main_from_name": name}
    path = getattr(main, "__file__", None)
    if path is None:
        return {}
    if not os.path.isabs(path):
        original: str | None = process.ORIGINAL_DIR  # type: ignore[attr-defined]
        if original is None:
            return {}  # The working directory was removed before this process began.
        path = os.path.join(original, path)
    return {"init_main_from_path": os.path.normpath(path)}


class LazyMain(types.ModuleType):
    """A main module that is imported when something is missing in it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_manyhands_origin" not in self.__dict__:
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        origin = self.__dict__.pop("_manyhands_origin")
        module = _import_main(origin)
        for key, value in vars(module).items():
            self.__dict__.setdefault(key, value)
        return getattr(self, name)


def make_lazy(origin: dict[str, str]) -> None:
    """Lets this child's ``__main__`` import the parent's script if it is needed."""
    main = sys.modules["__main__"]
    if origin and type(main) is types.ModuleType:
        main.__class__ = LazyMain
        main.__dict__["_manyhands_origin"] = origin


def _import_main(origin: dict[str, str]) -> types.ModuleType:
    import runpy
    from multiprocessing import process

    current: Any = process.current_process()
    # A script without a guard starts processes here: the standard module's error says so.
    current._inheriting = True
    try:
        if "init_main_from_name" in origin:
            name = origin["init_main_from_name"]
            if name == "__main__" or name.endswith(".__main__"):
                return types.ModuleType("__mp_main__")
            found = runpy.run_module(name, run_name="__mp_main__", alter_sys=True)
        else:
            found = runpy.run_path(origin["init_main_from_path"], run_name="__mp_main__")
    finally:
        del current._inheriting
    module = types.ModuleType("__mp_main__")
    module.__dict__.update(found)
    sys.modules["__mp_main__"] = module
    return module
