"""`manyhands run` behaves like `python`: each program runs under both, all they show is equal."""

import py_compile
import re
import subprocess
import sys
import textwrap
import zipfile

import pytest

SHOW_MAIN = """
import sys
names = {
    name: getattr(type(value), "__name__", "") if name == "__loader__" else repr(value)
    for name, value in sorted(globals().items()) if name != "sys"
}
print(sys.argv, repr(sys.path[0]), names, sys.modules["__main__"].__dict__ is globals())
"""
SCRIPTS = {
    "names in __main__": SHOW_MAIN,
    "exit status": "import sys; sys.exit(3)",
    "exit with a text": "import sys; sys.exit('enough')",
    "exit without a status": "raise SystemExit",
    "exception": "def f():\n    1 / 0\nf()\n",
    "chained exceptions": "try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError(1) from e\n",
    "exception group": "raise ExceptionGroup('two', [ValueError(1), TypeError(2)])",
    "exception in an imported function": "import json\njson.loads('{')\n",
    "syntax error": "x = 1\ny = (\n",
    "not UTF-8": "# coding: latin-1\nprint('caf\xe9')\n",
    "Ctrl-C": "raise KeyboardInterrupt",
    "Ctrl-C from outside": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint(1)\n",
    "its own excepthook": """
        import sys, traceback
        def hook(kind, error, tb):
            print(kind.__name__, [frame.name for frame in traceback.extract_tb(tb)])
            print([frame.name for frame in traceback.extract_tb(error.__traceback__)])
            print([frame.name for frame in traceback.extract_tb(sys.last_traceback)])
        sys.excepthook = hook
        def f():
            raise ValueError
        f()
        """,
    "atexit after an exception": """
        import atexit, sys
        atexit.register(lambda: print(sys.last_value, sys.excepthook is sys.__excepthook__))
        raise ValueError("last words")
        """,
    "exception in a thread": """
        import threading
        thread = threading.Thread(target=lambda: 1 / 0, name="t")
        thread.start()
        thread.join()
        """,
    "pickle by name": """
        import pickle
        class Dish: pass
        def cook(): pass
        print(pickle.dumps(cook), type(pickle.loads(pickle.dumps(Dish()))) is Dish)
        """,
    "standard worker processes": """
        import multiprocessing
        def work(queue):
            queue.put(("worked", __file__))
        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            queue = context.SimpleQueue()
            process = context.Process(target=work, args=(queue,))
            process.start()
            print(queue.get())
            process.join()
            print(process.exitcode)
        """,
    "own module beside it": "import neighbour\nprint(neighbour.__name__)\n",
    "future annotations": "from __future__ import annotations\nx: Undefined = 1\n",
}


def ended(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    # An address differs from run to run, the interpreter's name is not the program's affair.
    return done.returncode, re.sub(r"0x[0-9a-f]+", "0x", done.stdout), done.stderr


def assert_same(words, folder, options=()):
    python = [sys.executable, *options]
    expected = ended([*python, *words], folder)
    assert ended([*python, "-m", "manyhands", "run", *words], folder) == expected
    return expected


def write(path, source):
    path.parent.mkdir(parents=True, exist_ok=True)
    coding = "latin-1" if "latin-1" in source else "utf-8"
    path.write_text(textwrap.dedent(source), encoding=coding)


@pytest.mark.parametrize("source", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_script_runs_as_under_python(source, tmp_path):
    write(tmp_path / "program.py", source)
    write(tmp_path / "neighbour.py", "")
    assert_same(["program.py", "a", "-b", "--"], tmp_path)


@pytest.mark.parametrize("source", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_module_runs_as_under_python(source, tmp_path):
    write(tmp_path / "program.py", source)
    write(tmp_path / "neighbour.py", "")
    assert_same(["-m", "program", "a", "-b", "--"], tmp_path)


# What needs a file cannot be told from the command line: an encoding, and standard workers, which
# import the main program.
NEEDS_FILE = {"not UTF-8", "standard worker processes"}
CODE = {name: source for name, source in SCRIPTS.items() if name not in NEEDS_FILE}


@pytest.mark.parametrize("source", CODE.values(), ids=CODE.keys())
def test_code_runs_as_under_python(source, tmp_path):
    write(tmp_path / "neighbour.py", "")
    assert_same(["-c", textwrap.dedent(source), "a", "-b", "--"], tmp_path)


@pytest.mark.parametrize("path", ["./program.py", "sub/program.py", "sub/../program.py", "link.py"])
def test_a_script_may_be_named_by_any_path(path, tmp_path):
    write(tmp_path / "program.py", SHOW_MAIN)
    write(tmp_path / "sub/program.py", SHOW_MAIN)
    (tmp_path / "link.py").symlink_to("sub/program.py")
    status, _, _ = assert_same([path], tmp_path)
    assert status == 0
    assert_same([str(tmp_path / path)], tmp_path)


def test_a_folder_and_a_zip_file_run_as_under_python(tmp_path):
    write(tmp_path / "folder/__main__.py", SHOW_MAIN)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW_MAIN)
    for path in ("folder", "./folder", "archive.zip"):
        status, _, _ = assert_same([path, "a"], tmp_path)
        assert status == 0


def test_a_package_runs_as_under_python(tmp_path):
    write(tmp_path / "package/__init__.py", "")
    write(tmp_path / "package/__main__.py", SHOW_MAIN)
    status, _, _ = assert_same(["-m", "package", "a"], tmp_path)
    assert status == 0


def test_byte_code_runs_as_under_python(tmp_path):
    write(tmp_path / "program.py", SHOW_MAIN + "1 / 0\n")
    py_compile.compile(tmp_path / "program.py", tmp_path / "program.pyc")
    assert_same(["program.pyc", "a"], tmp_path)


def test_a_missing_module_is_reported_as_by_python(tmp_path):
    status, _, errors = assert_same(["-m", "no_such_module"], tmp_path)
    assert status == 1
    assert "No module named no_such_module" in errors


@pytest.mark.parametrize("options", [["-P"], ["-I"], ["-O"], ["-W", "error"], ["-X", "dev"]])
def test_options_of_the_interpreter_keep_their_meaning(options, tmp_path):
    write(tmp_path / "program.py", SHOW_MAIN + "print(__debug__, sys.flags, sys.warnoptions)\n")
    write(tmp_path / "folder/__main__.py", SHOW_MAIN)
    assert_same(["program.py"], tmp_path, options)
    assert_same(["folder"], tmp_path, options)
