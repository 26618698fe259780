"""The command `manyhands`, also `python -m manyhands`.

    manyhands run [--] SCRIPT args…      run a program on our executors, unchanged
    manyhands run [--] -m MODULE args…
    manyhands run -c CODE args…
    manyhands tour                       see the executors at work

`run` calls `manyhands.install()` and then behaves like `python` in all else (`_run.py`). What the
command itself has to say is one sentence on standard error and exit status 2.
"""

import os
import sys

import manyhands
from manyhands._drop_in import run

USAGE = """\
usage: manyhands run [--] SCRIPT [args...]       run a program on manyhands' executors
       manyhands run [--] -m MODULE [args...]    the same for a module, like python -m
       manyhands run [--] -c CODE [args...]      the same for the text of a program
       manyhands tour [args...]                  see the executors at work on this machine
       manyhands --version | --help

In the program that `run` starts, concurrent.futures.ThreadPoolExecutor, .ProcessPoolExecutor,
.wait and .as_completed are manyhands', for the libraries it uses too. Nothing else changes.
`manyhands run --deadlock=raise|report|off ...`: what happens when threads wait for ever (raise:
one of them gets a DeadlockError that shows who waits for what; the default).
`manyhands run --lost-updates=off|report|raise ...`: what happens when a process overwrites a shared
value with what it computed from an older one (off: nothing; the default).
Options of Python go before -m: python -O -m manyhands run SCRIPT.
"""

#: The options of `run`, and the environment variable that each sets.
MODES = {"--deadlock": "MANYHANDS_DEADLOCK", "--lost-updates": "MANYHANDS_LOST_UPDATES"}


class UsageError(Exception):
    """The command line cannot be followed; the text says what to write instead."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after the command's name; `sys.argv[1:]` if None.

    Returns:
        The exit status: 0, or 2 if the command line cannot be followed. What the program run
        raises, `SystemExit` included, passes through.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        return _command(words)
    except (UsageError, run.CannotRunError) as error:
        print(f"manyhands: {error}", file=sys.stderr)
        return 2


def _command(words: list[str]) -> int:
    match words:
        case ["run", *rest]:
            _run_program(rest)
        case ["tour", *rest]:
            return _tour(rest)
        case ["--version" | "-V"]:
            print(f"manyhands {manyhands.__version__}")
        case ["--help" | "-h" | "help"]:
            print(USAGE, end="")
        case []:
            raise UsageError("say what to do: `manyhands run SCRIPT`, or `manyhands --help`.")
        case [unknown, *_] if unknown.endswith(".py"):
            raise UsageError(f"unknown command {unknown!r}: write `manyhands run {unknown}`.")
        case [unknown, *_]:
            raise UsageError(f"unknown command {unknown!r}: `manyhands --help` lists them.")
    return 0


def _run_program(words: list[str]) -> None:
    """Installs the drop-in and becomes the program; raises `UsageError` if none is named."""
    match words[1:] if words[:1] == ["--"] else words:
        case ["--help" | "-h"] if words[0] != "--":
            print(USAGE, end="")
        case [option, *rest] if option.startswith(tuple(MODES)) and words[0] != "--":
            _set_mode(option)
            _run_program(rest)
        case ["-m", module, *args]:
            manyhands.install()
            run.run_module(module, args)
        case ["-c", code, *args]:
            manyhands.install()
            run.run_code(code, args)
        case ["-m" | "-c" as option]:
            what = "module's name" if option == "-m" else "text of a program"
            raise UsageError(f"`manyhands run {option}` needs the {what} after it.")
        case []:
            raise UsageError("`manyhands run` needs a script, -m MODULE or -c CODE to run.")
        case [option, *_] if option.startswith("-"):
            raise UsageError(
                f"`manyhands run` has no option {option!r}: write options of Python before -m, "
                f"`python {option} -m manyhands run ...`."
            )
        case [script, *args]:
            manyhands.install()
            run.run_script(script, args)


def _set_mode(option: str) -> None:
    """Takes `--deadlock=MODE` and the like, for the program and the processes it starts."""
    name, _, mode = option.partition("=")
    if name not in MODES or mode not in ("raise", "report", "off"):
        known = next(known for known in MODES if option.startswith(known))
        raise UsageError(f"write {known}=raise, =report or =off instead of {option!r}.")
    os.environ[MODES[name]] = mode


def _tour(args: list[str]) -> int:
    from manyhands._tour.tour import main as tour

    return tour(args)


if __name__ == "__main__":
    sys.exit(main())
