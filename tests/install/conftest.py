"""Programs for the drop-in's tests: each runs in a fresh interpreter, beside recognisable fakes.

What `install()` does depends on what a process has imported so far, so no test of it runs inside
pytest's own process. The fakes stand for `manyhands.futures`: the subject is who gets which name.
"""

import subprocess
import sys
import textwrap

import pytest

FAKES = '''
"""Stands for manyhands.futures: executors that run a task at once."""
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool  # as the real ones do: imports a target


class ThreadPoolExecutor(Executor):
    def __init__(self, max_workers=None, thread_name_prefix=""):
        self.thread_name_prefix = thread_name_prefix

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        future.set_result(function(*args, **kwargs))
        return future


class ProcessPoolExecutor(ThreadPoolExecutor):
    pass


def wait(futures, timeout=None, return_when="ALL_COMPLETED"):
    return "ours"


def as_completed(futures, timeout=None):
    return "ours"
'''

PRELUDE = """
import sys
import manyhands
manyhands.__path__.insert(0, {folder!r})

def ours_loaded():
    return "manyhands.futures" in sys.modules

"""


@pytest.fixture
def run_program(tmp_path):
    """Runs the text of a program that may use `manyhands`, `sys`, `ours_loaded()`; it must exit 0.

    Returns what it printed.
    """
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    (fakes / "futures.py").write_text(FAKES, encoding="utf-8")

    def run(source):
        program = PRELUDE.format(folder=str(fakes)) + textwrap.dedent(source)
        script = tmp_path / "program.py"
        script.write_text(program, encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run
