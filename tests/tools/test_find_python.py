"""The search for an interpreter takes both ends of what is installed and suitable."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

SCRIPT = Path(__file__).parents[2] / "tools/find_python.py"
SPEC = importlib.util.spec_from_file_location("find_python", SCRIPT)
find_python = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(find_python)

FOUND = [((3, 10, 9), "old"), ((3, 12, 1), "first"), ((3, 13, 0), "a"), ((3, 13, 2), "b")]


@pytest.mark.parametrize(
    ("wanted", "path"),
    [("oldest", "first"), ("newest", "b"), ("3.12", "first"), ("3.13", "b"), ("3.14", None)],
)
def test_the_wanted_interpreter_is_chosen(wanted, path):
    assert find_python.choose(wanted, FOUND) == path


def test_an_interpreter_that_is_too_old_never_fits():
    assert find_python.choose("oldest", FOUND[:1]) is None
    assert find_python.choose("3.10", FOUND) is None


def test_this_interpreter_is_recognised():
    assert find_python.probe(Path(sys.executable))[0] == sys.version_info[:3]


def test_a_version_that_is_not_installed_is_a_sentence_and_status_1():
    search = subprocess.run([sys.executable, SCRIPT, "3.99"], capture_output=True, text=True)
    assert search.returncode == 1
    assert "no CPython fits '3.99'" in search.stderr
