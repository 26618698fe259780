"""The private names of CPython that the package relies on: all of them, and that they are there.

CPython may take one away in any version. Here is where that shows first, with the name.
"""

import ast
import importlib
import sys
from pathlib import Path

import manyhands
import pytest

PACKAGE = Path(manyhands.__file__).parent

#: What is relied on, by the subject it serves.
RELIED_ON = {
    "classes that are made from a description": ["abc._abc_init", "enum._is_sunder"],
    "the end of a process that is not its interpreter's": [
        "atexit._clear",
        "atexit._ncallbacks",
        "atexit._run_exitfuncs",
        "multiprocessing.util._exit_function",
        "os._exit",
        "threading._register_atexit",
        "threading._shutdown",
        "threading._threading_atexits",
    ],
    "futures and their errors": [
        "concurrent.futures._base",
        "concurrent.futures.process._RemoteTraceback",
    ],
    "values that are declared with ctypes": ["ctypes._SimpleCData"],
    "functions by value": ["functools._lru_cache_wrapper"],
    "a worker that logs as its parent does": [
        "logging._levelToName",
        "logging._warnings_showwarning",
        "multiprocessing.util._flush_std_streams",
        "multiprocessing.util._log_to_stderr",
        "multiprocessing.util._logger",
    ],
    "processes that the standard package has to know": [
        "multiprocessing.context._concrete_contexts",
        "multiprocessing.context._default_context",
        "multiprocessing.context._default_context._actual_context",
        "multiprocessing.context._force_start_method",
        "multiprocessing.process.BaseProcess._after_fork",
        "multiprocessing.process._ParentProcess",
        "multiprocessing.process._children",
        "multiprocessing.process._cleanup",
        "multiprocessing.process._current_process",
        "multiprocessing.process._parent_process",
        "multiprocessing.process._process_counter",
        "multiprocessing.spawn._check_not_importing_main",
    ],
    "standard objects that are sent": [
        "multiprocessing.reduction.ForkingPickler._extra_reducers",
        "multiprocessing.resource_sharer._resource_sharer",
        "multiprocessing.resource_tracker._resource_tracker",
    ],
    "the interpreter's own pickler and locks, without the modules around them": [
        "_pickle",
        "_thread",
    ],
    "starting Python as this one was started": [
        "runpy._run_module_as_main",
        "subprocess._args_from_interpreter_flags",
        "sys._xoptions",
    ],
    "threads that exist when ours are installed": ["threading._dangling", "threading._CRLock"],
}
ALL = sorted(name for names in RELIED_ON.values() for name in names)


@pytest.mark.parametrize("name", ALL)
def test_a_name_that_is_relied_on_is_there(name):
    assert found(name) is not None


def test_no_other_private_name_of_a_standard_module_is_used():
    used = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        used |= private_names(ast.parse(path.read_text(encoding="utf-8")))
    assert sorted(used - set(ALL)) == []


def test_the_search_sees_what_it_is_for():
    source = (
        "import os, threading as standard\n"
        "from multiprocessing import process\n"
        "from runpy import _run_code\n"
        "also: object = process\n"
        "os._exit(0); standard._dangling.data; also._children; standard.Thread._x.y\n"
        "self._own; process.__name__\n"
    )
    assert private_names(ast.parse(source)) == {
        "os._exit",
        "threading._dangling",
        "threading.Thread._x",
        "multiprocessing.process._children",
        "runpy._run_code",
    }


def found(name):
    """The object of a dotted name."""
    parts = name.split(".")
    for n_parts in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:n_parts]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[n_parts:]:
            value = getattr(value, attribute, missing)
            if value is missing:
                return None
        # A name may be bound to None, such as a logger that nobody has asked for.
        return (value,)
    return None


missing = object()


def private_names(tree):
    """The private names of standard modules in a file, with the names of their modules."""
    modules = standard_modules(tree)
    used = {name for name in modules.values() if is_private(name.rpartition(".")[2])}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not is_private(node.attr):
            continue
        between, root = [], node.value
        while isinstance(root, ast.Attribute):
            between.insert(0, root.attr)
            root = root.value
        if isinstance(root, ast.Name) and root.id in modules:
            used.add(".".join([modules[root.id], *between, node.attr]))
    return used


def standard_modules(tree):
    """What of the standard library has which name in a file."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    for node in ast.walk(tree):
        # `module: Any = standard_module`, by which a type checker is told to look away.
        match node:
            case ast.AnnAssign(target=ast.Name(id=new), value=ast.Name(id=old)) if old in names:
                names[new] = names[old]
    return {name: module for name, module in names.items() if is_standard(module)}


def is_standard(module):
    return module.partition(".")[0] in sys.stdlib_module_names


def is_private(name):
    return name.startswith("_") and not name.startswith("__")
