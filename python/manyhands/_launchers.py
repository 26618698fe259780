"""Where workers and processes come from: a program for each, or forks of a template.

Guarantees: what is started runs this interpreter with this one's options, finds manyhands, and has
the environment variables of the moment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from . import _runtime, _worker_setup
from .install import is_installed

__all__ = ["program", "template"]


def program() -> _runtime.ProgramLauncher:
    """A fresh interpreter for each start."""
    args = [*_interpreter(), "-c", _program("spawned()")]
    return _runtime.ProgramLauncher(args, list(os.environ.items()))


def template(preload: tuple[str, ...] = ()) -> _runtime.TemplateLauncher:
    """Forks of the template that has imported `preload`: shared by all who want the same one."""
    interpreter = _interpreter()
    call = f"main({list(preload)!r}, installed={is_installed()}, learns={learns()})"
    key = "\0".join([*interpreter, call]).encode(errors="surrogateescape")
    args = [*interpreter, "-c", _program(call)]
    return _runtime.TemplateLauncher(key, args, list(os.environ.items()))


def learns() -> bool:
    """Whether the template for this moment imports what its children have imported.

    Such a template has the environment and ``sys.path`` of this process's first call. When either
    has changed there is another one that does not learn: a library may look at the environment when
    it is imported, and another path may lead to another library.
    """
    global _surroundings
    now = os.getpid(), dict(os.environ), _worker_setup._absolute_path()
    if _surroundings is None or _surroundings[0] != now[0]:
        _surroundings = now
    return _surroundings == now


_surroundings: tuple[int, dict[str, str], list[str]] | None = None


def _interpreter() -> list[str]:
    """How to start this interpreter again, with the options it was started with."""
    spawn = sys.modules.get("multiprocessing.spawn")
    executable = os.fsdecode(spawn.get_executable() or "") if spawn else sys.executable
    if not executable:
        raise RuntimeError(
            "sys.executable is empty: set it to a Python interpreter, or use start method 'fork'"
        )
    private: Any = subprocess  # What multiprocessing itself uses; the type information omits it.
    return [executable, *private._args_from_interpreter_flags()]


def _program(call: str) -> str:
    # The worker's own `sys.path` comes with its setup; this one must only find manyhands, and
    # what the template preloads.
    path = _worker_setup._absolute_path()
    function = call.partition("(")[0]
    return f"import sys; sys.path[:] = {path!r}; from manyhands._template import {function}; {call}"
