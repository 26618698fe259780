"""What a process prints, where it arrives, and how it ends: as with the standard start methods."""

import subprocess
import sys
import textwrap

import pytest

METHODS = ("template", "spawn", "fork", "forkserver")

# Nothing of `__main__` is imported by standard processes that were forked; ours need no guard.
PROGRAM = """
import contextlib, io, sys
from manyhands import multiprocessing

context = multiprocessing.get_context(sys.argv[1])

def run(target, *args):
    process = context.Process(target=target, args=args, name="P")
    process.start()
    process.join()
    return process.exitcode

def say(text):
    sys.stdout.write(text)

def fail(error):
    raise error
"""


@pytest.fixture(params=METHODS)
def run_program(request, tmp_path):
    """Runs a program with each start method: what it printed, and its standard error."""

    def run(source):
        path = tmp_path / "program.py"
        path.write_text(PROGRAM + textwrap.dedent(source), encoding="utf-8")
        completed = subprocess.run(
            [sys.executable, str(path), request.param],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=tmp_path,
        )
        assert completed.returncode == 0, completed.stderr
        return completed.stdout, completed.stderr

    run.method = request.param
    return run


def test_what_is_printed_without_a_newline_arrives_at_the_end(run_program):
    out, _ = run_program("print(run(say, 'unfinished'))")
    assert out == "unfinished0\n"


def test_a_replaced_stdout_is_copied_by_fork_and_unknown_to_the_others(run_program):
    out, _ = run_program("""
        replaced = io.StringIO()
        with contextlib.redirect_stdout(replaced):
            run(say, "said")
        print(repr(replaced.getvalue()))
    """)
    assert out == ("''\n" if run_program.method == "fork" else "said''\n")


def test_a_file_as_stdout_is_written_by_a_fork_in_order(run_program):
    out, _ = run_program("""
        with open("out.txt", "w") as file, contextlib.redirect_stdout(file):
            print("before")
            run(say, "said\\n")
            print("after")
        print(open("out.txt").read().split())
    """)
    if run_program.method == "fork":
        assert out == "['before', 'said', 'after']\n"
    else:
        assert out == "said\n['before', 'after']\n"


@pytest.mark.parametrize(
    ("error", "exitcode", "shown"),
    [
        ("SystemExit('a reason')", 1, "a reason\n"),
        ("SystemExit", 0, ""),
        ("SystemExit(True)", 1, ""),
        ("SystemExit(2.5)", 1, "2.5\n"),
        ("SystemExit(300)", 44, ""),
        ("SystemExit(-3)", 253, ""),
        ("KeyboardInterrupt", 1, "Process P:\n...\nKeyboardInterrupt\n"),
        ("ValueError('wrong')", 1, "Process P:\n...\nValueError: wrong\n"),
    ],
)
def test_the_exit_code_and_what_is_told_of_an_exception(run_program, error, exitcode, shown):
    out, err = run_program(f"print(run(fail, {error}))")
    assert out == f"{exitcode}\n"
    begin, _, end = shown.partition("...\n")
    if end:
        assert err.startswith(begin + "Traceback (most recent call last):\n")
        assert err.endswith("\n" + end)
    else:
        assert err == shown
