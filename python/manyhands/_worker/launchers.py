"""Where workers and processes come from: a program for each, or forks of a template.

Guarantees: what is started runs this interpreter with this one's options, finds manyhands, and has
the environment variables of the moment.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

from manyhands import _runtime
from manyhands._drop_in.installer import is_installed
from manyhands._worker import parent_state

__all__ = ["program", "template", "why_no_interpreter"]


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
    now = os.getpid(), dict(os.environ), parent_state._absolute_path()
    if _surroundings is None or _surroundings[0] != now[0]:
        _surroundings = now
    return _surroundings == now


_surroundings: tuple[int, dict[str, str], list[str]] | None = None


def why_no_interpreter() -> str | None:
    """Why this program cannot start a Python interpreter; None: it can.

    A frozen program (PyInstaller, cx_Freeze) and one that embeds Python (uwsgi) name *themselves*
    as `sys.executable`: to start that would be to start the program again. And what the program
    could start as root it may not be allowed to any more.
    """
    executable = _executable()
    if getattr(sys, "frozen", False):
        return f"sys.executable, {executable!r}, is this frozen program, not a Python interpreter"
    if not executable:
        return "sys.executable is empty"
    names = (os.path.basename(executable), os.path.basename(os.path.realpath(executable)))
    if not any(_INTERPRETER_NAME.match(name) for name in names):
        return f"sys.executable, {executable!r}, has not the name of a Python interpreter"
    # Of the standard library any module will do; this one is always there as a file.
    for path, mode in ((executable, os.X_OK), (os.__file__, os.R_OK)):
        if not os.access(path, mode, effective_ids=os.access in os.supports_effective_ids):
            return f"this program may not use {path!r}, or it is gone"
    return None


def _executable() -> str:
    spawn = sys.modules.get("multiprocessing.spawn")
    return os.fsdecode(spawn.get_executable() or "") if spawn else sys.executable or ""


_INTERPRETER_NAME = re.compile(r"(python|pypy|graalpy)", re.IGNORECASE)


def _interpreter() -> list[str]:
    """How to start this interpreter again, with the options it was started with."""
    why = why_no_interpreter()
    if why is not None:
        raise RuntimeError(
            f"no fresh interpreter can be started: {why}; use start method 'fork', or set "
            "sys.executable (multiprocessing.set_executable) to a Python interpreter"
        )
    private: Any = subprocess  # What multiprocessing itself uses; the type information omits it.
    return [_executable(), *private._args_from_interpreter_flags()]


def _program(call: str) -> str:
    # The worker's own `sys.path` comes with its setup; this one must only find manyhands, and
    # what the template preloads.
    path = parent_state._absolute_path()
    function = call.partition("(")[0]
    use = f"from manyhands._worker.template import {function}; {call}"
    return f"import sys; sys.path[:] = {path!r}; {use}"
