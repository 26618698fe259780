"""A worker's interpreter made to look like its parent's, without importing its ``__main__``.

`describe_parent` runs in the parent, `prepare` in the freshly forked worker before its first
task, `finish` at an orderly exit. It is what ``multiprocessing.spawn`` does for its children, with
these differences: ``__main__`` is an empty module that fills with what the tasks bring along;
environment, working directory, logging levels and warning filters are the parent's, and if it
called `manyhands.install()`, so does the worker; the worker is not a daemon, so tasks may start
processes and pools.

Guarantees:
    no function that the parent registered (atexit, finalizers) ever runs in a worker, those that
    tasks register do; whole printed lines arrive at once and survive a kill right after them.

Does not do: forward output to streams the parent replaced; see `forwarding`. Nor does it copy
settings that can only be made on the command line (``sys.flags``).
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import itertools
import os
import re
import sys
import threading
import traceback
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from manyhands import _runtime
from manyhands._drop_in.installer import install, is_installed
from manyhands._worker.setups import LoggingState, ParentState

_FORK_WARNING = r".*multi-threaded, use of fork\(\)"
# Compiled here, so that workers find it in the cache that they inherit from the template.
re.compile(_FORK_WARNING, re.IGNORECASE)

# Modules whose hooks at the end of threading know by themselves what is theirs after a fork.
_FORK_SAFE_HOOKS = ("concurrent.futures.", "manyhands.")


def describe_parent() -> ParentState:
    """What a worker must know of this process (about 20 µs).

    Pickle it with `_pickling.dumps`: a warning category may be a class of ``__main__``.

    >>> describe_parent().pid == os.getpid()
    True
    """
    main = sys.modules.get("__main__")
    return ParentState(
        pid=os.getpid(),
        process_name=_process_name(),
        authkey=_authkey(),
        start_method=_start_method(),
        sys_path=_absolute_path(),
        sys_argv=list(getattr(sys, "argv", [])),
        environ=dict(os.environ),
        recursion_limit=sys.getrecursionlimit(),
        dont_write_bytecode=sys.dont_write_bytecode,
        main_file=getattr(main, "__file__", None),
        main_package=getattr(main, "__package__", None),
        logging=describe_logging(),
        warning_filters=list(warnings.filters),
        stdout_is_own=stream_is_own("stdout"),
        stderr_is_own=stream_is_own("stderr"),
        installed=is_installed(),
    )


def prepare(
    data: ParentState,
    *,
    name: str | None = None,
    inherited: bool = False,
    as_pool_worker: bool = True,
    pool_number: int | None = None,
) -> None:
    """Make this freshly forked worker like the process that `data` describes.

    Args:
        data: what `describe_parent` returned.
        name: name of this process, e.g. ``"ProcessPoolWorker-3"``.
        inherited: the worker was forked from the parent itself (start method ``fork``):
            ``__main__``, logging, environment and paths are already the parent's.
        as_pool_worker: what multiprocessing sees is a worker of a pool; else the caller sees to it.
        pool_number: which worker of `multiprocessing.Pool` this is; programs look at the
            ``_identity`` and the ``daemon`` flag of such processes.

    What is the kernel's, such as limits and the working directory, comes with the launch; see
    `template`.
    """
    forget_parent_handlers()
    if as_pool_worker:
        _once_imported("multiprocessing", lambda _: _become_pool_process(data, name, pool_number))
    if not inherited:
        _apply_paths(data)
        _apply_environ(data.environ)
        _make_main(data)
        apply_logging(data.logging)
        _end_logging_at_exit()
        _reseed()
    _apply_interpreter(data)
    if data.installed and not is_installed():
        install()
    from manyhands._pickling import codec

    def accept(by_value: Any) -> None:
        by_value.accept_from(data.pid, inherited)

    if inherited:
        importlib.import_module("manyhands._pickling.by_value")
    _once_imported("manyhands._pickling.by_value", accept)
    if not inherited:
        _once_imported("manyhands._pickling.main_objects", lambda module: module.begin_anew())
    codec.register_connection_reducers()
    _detach_stdin()
    write_whole_lines()


def finish() -> None:
    """End the worker in order: what Python does at exit, for what the tasks left behind.

    Waits for non-daemon threads, runs the functions that tasks registered with ``atexit``, ends
    the children they started with multiprocessing and flushes the standard streams. The process
    is expected to call ``os._exit`` next. Errors, also KeyboardInterrupt, are printed and end only
    the step they happened in.
    """
    hooks: Any = threading
    _report_errors(hooks._shutdown)
    _report_errors(atexit._run_exitfuncs)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        _report_errors(util._exit_function)
    flush_streams()


def flush_streams() -> None:
    """Flush ``sys.stdout`` and ``sys.stderr``; a closed or missing one is no error."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def forget_parent_handlers() -> None:
    """Drop every function that runs at exit and was registered before this process was forked."""
    atexit._clear()
    finalizers: Any = weakref.finalize
    finalizers._registry.clear()
    # The next finalizer registers itself with atexit again.
    finalizers._registered_with_atexit = False
    module: Any = threading
    hooks = module._threading_atexits
    hooks[:] = [hook for hook in hooks if _hook_module(hook).startswith(_FORK_SAFE_HOOKS)]
    for module_name, table in (("thread", "_threads_queues"), ("process", "_threads_wakeups")):
        module = sys.modules.get(f"concurrent.futures.{module_name}")
        if module is not None and hasattr(module, table):
            getattr(module, table).clear()


def _hook_module(hook: Any) -> str:
    """Name of the module of the function behind a hook of ``threading._register_atexit``."""
    function = getattr(hook, "func", None)
    if function is None and isinstance(hook, types.FunctionType):
        names = hook.__code__.co_freevars
        cells = dict(zip(names, hook.__closure__ or (), strict=True))
        function = cells["func"].cell_contents if "func" in cells else hook
    return str(getattr(function, "__module__", "")) + "."


# --- describing ---------------------------------------------------------------------------------


def _process() -> Any:
    return sys.modules.get("multiprocessing.process")


def _process_name() -> str:
    process = _process()
    return process.current_process().name if process else "MainProcess"


def _authkey() -> bytes | None:
    process = _process()
    return bytes(process.current_process().authkey) if process else None


def _start_method() -> str | None:
    context = sys.modules.get("multiprocessing.context")
    chosen = context._default_context._actual_context if context else None
    # None: the program has not chosen, and asking with get_start_method() would choose for it.
    return chosen.get_start_method() if chosen else None


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _absolute_path() -> list[str]:
    """``sys.path`` as it means here: '' and relative entries depend on the directory."""
    cwd = _cwd()
    path = list(sys.path)
    if cwd is None:
        return path
    return [os.path.join(cwd, entry) if entry else cwd for entry in path]


def stream_is_own(name: str) -> bool:
    """Whether ``sys.stdout`` or ``sys.stderr`` is what the interpreter started with.

    Workers then write to the same descriptor themselves; else `forwarding` carries their output.
    """
    stream = getattr(sys, name)
    if stream is None:
        return True
    try:
        return stream is getattr(sys, f"__{name}__") and stream.fileno() in (1, 2)
    except Exception:
        return False


def _end_logging_at_exit() -> None:
    """What `logging` asks for when it is imported, which the template may have done."""
    logging = sys.modules.get("logging")
    if logging is not None:
        atexit.register(logging.shutdown)


def describe_logging() -> LoggingState | None:
    """Levels and switches of all loggers that differ from a new logger's; None if unused."""
    logging = sys.modules.get("logging")
    if logging is None:
        return None
    root = logging.root
    changed = {}
    for name, logger in list(root.manager.loggerDict.items()):
        if not isinstance(logger, logging.Logger):
            continue
        settings = (logger.level, logger.disabled, logger.propagate)
        if settings != (logging.NOTSET, False, True):
            changed[name] = settings
    return LoggingState(
        root_level=root.level,
        disable=root.manager.disable,
        loggers=changed,
        level_names=dict(logging._levelToName),
        capture_warnings=logging._warnings_showwarning is not None,
    )


def has_log_handlers() -> bool:
    """Whether this program has configured where log records go."""
    logging = sys.modules.get("logging")
    if logging is None:
        return False
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = [each for logger in loggers for each in getattr(logger, "handlers", ())]
    return any(not isinstance(handler, logging.NullHandler) for handler in handlers)


# --- preparing ----------------------------------------------------------------------------------


def apply_logging(settings: LoggingState | None) -> None:
    """Give this process's loggers the levels that `describe_logging` found."""
    if settings is None:
        return
    import logging

    logging.root.setLevel(settings.root_level)
    for level, name in settings.level_names.items():
        if logging._levelToName.get(level) != name:
            logging.addLevelName(level, name)
    for name, (level, disabled, propagate) in settings.loggers.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.disabled = disabled
        logger.propagate = propagate
    logging.disable(settings.disable)
    logging.captureWarnings(settings.capture_warnings)


def _once_imported(name: str, act: Callable[[Any], None]) -> None:
    """Call ``act(module)`` now if the module is loaded, else when it is.

    Most workers never need it, and importing it would take longer than all else.
    """
    module = sys.modules.get(name)
    if module is not None:
        act(module)
        return
    from manyhands._drop_in.import_hook import AfterImport

    sys.meta_path.insert(0, AfterImport({name: act}))


def _become_pool_process(data: ParentState, name: str | None, pool_number: int | None) -> None:
    """What multiprocessing sees: a child process of the parent, with its key.

    Not a daemon, so that tasks may start processes, unless it is one of `multiprocessing.Pool`.
    """
    from multiprocessing import context
    from multiprocessing import process as process_module

    process: Any = process_module
    me = process.BaseProcess.__new__(process.BaseProcess)
    me._identity = (pool_number or os.getpid(),)
    me._config = {"semprefix": "/mp", "daemon": pool_number is not None}
    if data.authkey is not None:
        me._config["authkey"] = process.AuthenticationString(data.authkey)
    else:
        me._config["authkey"] = process.current_process().authkey
    me._parent_pid = data.pid
    me._parent_name = data.process_name
    me._popen = None
    me._closed = False
    me._name = name or f"ProcessPoolWorker-{os.getpid()}"
    process._current_process = me
    process._process_counter = itertools.count(1)
    process._children = set()
    try:
        # Readable when the parent has ended; what parent_process().join() waits for.
        sentinel = _runtime.ProcessHandle(data.pid).sentinel()
        process._parent_process = process._ParentProcess(data.process_name, data.pid, sentinel)
    except OSError:
        process._parent_process = None
    # Template, ours under the drop-in, is what there is anyway until the module is patched.
    method = data.start_method
    if method is not None and method in context._concrete_contexts:
        context._force_start_method(method)
    if "multiprocessing.util" in sys.modules:
        process.BaseProcess._after_fork()


def _apply_paths(data: ParentState) -> None:
    if sys.path != data.sys_path:
        sys.path[:] = data.sys_path
    sys.argv = data.sys_argv


def _apply_environ(environ: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in environ]:
        del os.environ[name]
    for name, value in environ.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _make_main(data: ParentState) -> None:
    """An empty ``__main__``: by-value functions of the parent's fill it (`by_value`)."""
    import builtins

    main = types.ModuleType("__main__")
    main.__package__ = data.main_package
    main.__dict__["__builtins__"] = builtins
    if data.main_file is not None:
        main.__file__ = data.main_file
    sys.modules["__main__"] = main


def _apply_interpreter(data: ParentState) -> None:
    sys.setrecursionlimit(data.recursion_limit)
    sys.dont_write_bytecode = data.dont_write_bytecode
    filters: Any = warnings.filters
    filters[:] = data.warning_filters
    # Inside a worker the only other thread is the runtime's own, which holds no lock. (Public
    # call: it also tells the C code that the list above has changed.)
    warnings.filterwarnings("ignore", message=_FORK_WARNING, category=DeprecationWarning)


def _reseed() -> None:
    """Give NumPy's global generator another state in each worker; ``random`` does so itself."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def _detach_stdin() -> None:
    """A worker must not take what is typed for the parent: descriptor 0 is the null device."""
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            os.dup2(null, 0)
        finally:
            if null != 0:
                os.close(null)
        if sys.stdin is None or sys.stdin.closed or sys.stdin.fileno() != 0:
            sys.stdin = open(0, closefd=False)  # noqa: SIM115 - lives as long as the process
    except (OSError, ValueError, AttributeError):
        pass  # No null device (a bare container), or a replaced stdin without a descriptor.


def write_whole_lines() -> None:
    """Let the standard streams write at each end of a line, one line in one write.

    Also under ``PYTHONUNBUFFERED``, where ``print`` would write a line and its end one after the
    other, and another worker's line might come between.
    """
    streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        try:
            stream.reconfigure(line_buffering=True, write_through=False)
        except (AttributeError, ValueError, OSError):
            continue  # Replaced by something else, missing or closed.


def _report_errors(step: Any) -> None:
    try:
        step()
    except BaseException:
        # With stderr gone there is nobody to tell; ending the process matters more.
        with contextlib.suppress(Exception):
            traceback.print_exc()
