"""Runs a program the way `python` runs it: what `manyhands run` does after `install()`.

Guarantees, for a script, a directory or zip file, a module (`-m`) and code (`-c`): `sys.argv`,
`sys.path[0]` and the names in `__main__` are what `python` gives; `__main__` really is the
program's module, so its functions and classes pickle by their names; the exit status and the text
of an uncaught exception are those of `python`, without a frame of this package, also for the
program's own `sys.excepthook`.

What it does not do: options of the interpreter (`-O`, `-W`, `-X`, ...) belong to it: `python -O -m
manyhands run script.py`. A program on standard input (`-`) is not read.
"""

import builtins
import io
import os
import sys
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType, TracebackType


class CannotRunError(Exception):
    """There is no program to run; the text says why and what to do."""


def run_script(path: str, args: list[str]) -> None:
    """Runs a Python file, or the `__main__` of a directory or zip file, as the main program.

    Args:
        path: the file, as the user wrote it; becomes `sys.argv[0]`.
        args: the rest of `sys.argv`.

    Raises:
        CannotRunError: there is no such file, or it cannot be read.
    """
    if not os.path.exists(path):
        raise CannotRunError(f"there is no file {path!r}: check the path of the script to run.")
    full_path = _absolute(path)
    if _is_importable(full_path):
        _become_main([path, *args])
        _set_path_entry(full_path, even_if_safe=True)
        _run_module_as_main("__main__", set_argv0=False)
        return
    try:
        program = _read_program(full_path)
    except OSError as error:
        raise CannotRunError(f"cannot read {path!r}: {error.strerror}.") from None
    main = _become_main([path, *args])
    _set_path_entry(os.path.dirname(os.path.realpath(path)))
    main.__file__ = full_path
    loader = SourcelessFileLoader if full_path.endswith(".pyc") else SourceFileLoader
    main.__loader__ = loader("__main__", full_path)
    vars(main)["__cached__"] = None
    _execute(main, program, full_path)


def run_module(name: str, args: list[str]) -> None:
    """Runs a module, or a package's `__main__`, as the main program, like `python -m name`.

    A module that cannot be found ends the program with `python`'s own message and status 1.
    """
    _become_main(["-m", *args])
    _set_path_entry(os.getcwd())
    _run_module_as_main(name, set_argv0=True)


def run_code(source: str, args: list[str]) -> None:
    """Runs the text of a program, like `python -c source`."""
    if sys.version_info >= (3, 14):
        from textwrap import dedent

        source = dedent(source)
    if sys.version_info >= (3, 13):
        import linecache

        # Python shows the lines of such a program in tracebacks since 3.13.
        lines = source.splitlines(keepends=True)
        linecache.cache["<string>"] = (len(source), None, lines, "<string>")
    main = _become_main(["-c", *args])
    main.__loader__ = BuiltinImporter
    _set_path_entry("")
    _execute(main, source, "<string>")


def _become_main(argv: list[str]) -> ModuleType:
    """Gives the process the `sys.argv` and the empty `__main__` module of a new program."""
    sys.argv = argv
    main = ModuleType("__main__")
    vars(main)["__builtins__"] = builtins
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    sys.modules["__main__"] = main
    return main


def _set_path_entry(entry: str, *, even_if_safe: bool = False) -> None:
    """Makes `entry` the program's `sys.path[0]`, in place of what our own start put there."""
    if not sys.flags.safe_path:
        sys.path[0] = entry
    elif even_if_safe:
        sys.path.insert(0, entry)  # As python does for a directory or zip file.


def _execute(main: ModuleType, program: CodeType | bytes | str, filename: str) -> None:
    with _FramesHidden():
        if not isinstance(program, CodeType):
            program = compile(program, filename, "exec", dont_inherit=True)
        exec(program, vars(main))


def _run_module_as_main(name: str, *, set_argv0: bool) -> None:
    # Private, but the very function that `python -m` calls: it runs in sys.modules["__main__"].
    # Its frames stay in tracebacks, as they do under `python -m`.
    import runpy

    with _FramesHidden():
        runpy._run_module_as_main(name, set_argv0)  # type: ignore[attr-defined]


class _FramesHidden:
    """Shows an exception that ends the program without the frames that led to the program.

    The exception goes on its way to the interpreter, which alone can end the process as it should
    (a KeyboardInterrupt by SIGINT) and set `sys.last_exc`. On that way it collects our frames:
    they are cut off when the interpreter calls `sys.excepthook`.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or traceback is None or isinstance(error, SystemExit):
            return
        # The first entry is the frame of the `with` statement.
        of_program = traceback.tb_next
        hook = sys.excepthook

        def show(
            kind: type[BaseException], shown: BaseException, traceback: TracebackType | None
        ) -> None:
            sys.excepthook = hook
            if shown is error:
                sys.last_traceback = shown.__traceback__ = traceback = of_program
            hook(kind, shown, traceback)

        sys.excepthook = show


def _read_program(path: str) -> CodeType | bytes:
    """The code of a `.pyc` file, or the source of any other."""
    if path.endswith(".pyc"):
        code = SourcelessFileLoader("__main__", path).get_code("__main__")
        assert code is not None  # It raises where there is none.
        return code
    with io.open_code(path) as file:
        source: bytes = file.read()
        return source


def _is_importable(path: str) -> bool:
    """Whether `path` may stand in `sys.path`: a directory or a zip file."""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def _absolute(path: str) -> str:
    """What python makes of the script's path for `__file__`: absolute, otherwise as written."""
    if os.path.isabs(path):
        return path
    return os.path.join(os.getcwd(), path)
