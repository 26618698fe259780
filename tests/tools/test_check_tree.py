"""The source-file check accepts a good file and names each broken rule."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

CHECK = Path(__file__).parents[2] / "tools/check_tree.py"


def check(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return subprocess.run([sys.executable, CHECK, path], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["queue.rs", "queue.py", "queue.pyi"])
def test_a_short_documented_file_is_accepted(tmp_path, name):
    opening = "//! A queue.\n" if name.endswith(".rs") else '"""A queue."""\n'
    assert check(tmp_path / name, opening * 600).returncode == 0


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("queue.py", '"""A queue."""\n' + "x = 1\n" * 600, "601 lines"),
        ("queue.rs", "//! A queue.\n//" + "x" * 99 + "\n", "line 2 has 101 columns"),
        ("queue.rs", "fn main() {}\n", "open the file with //!"),
        ("queue.py", "x = 1\n", "open the file with //! or a docstring"),
        ("utils.py", '"""Things."""\n', "grab-bag"),
    ],
    ids=["too long", "too wide", "undocumented Rust", "undocumented Python", "grab-bag"],
)
def test_a_file_that_breaks_a_rule_is_named(tmp_path, name, text, complaint):
    checked = check(tmp_path / name, text)
    assert checked.returncode == 1
    assert complaint in checked.stderr


def test_a_row_of_a_table_may_be_wide(tmp_path):
    text = "//! A queue.\n//!\n//! | state | " + "x" * 99 + " |\n"
    assert check(tmp_path / "queue.rs", text).returncode == 0


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("src/queue.rs", "std::thread::yield_now();"),
        ("src/deep/queue.rs", "while !done() { yield_now(); }"),
        ("src/queue.rs", "// As the others do.\nlibc::sched_yield();"),
        ("src/queue.rs", "#[cfg(all(test, not(loom)))]\nmod tests {\n}\nthread::yield_now();"),
        ("python/manyhands/_queues/thread_queue.py", "os.sched_yield()"),
        ("python/manyhands/pool/_queue.py", "time.sleep(0)"),
    ],
)
def test_shipped_code_that_yields_is_named(tmp_path, name, line):
    opening = "//! A queue.\n" if name.endswith(".rs") else '"""A queue."""\n'
    checked = check(tmp_path / name, f"{opening}{line}\n")
    assert checked.returncode == 1
    assert "yields the processor" in checked.stderr


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tests/queue.rs", "std::thread::yield_now();"),
        ("src/queue.rs", "loom::thread::yield_now();"),
        ("src/queue.rs", "// Never `sched_yield`."),
        ("src/queue.rs", "#[cfg(test)]\nmod tests {\n    thread::yield_now();\n}"),
        ("tests/test_queue.py", "time.sleep(0)"),
        ("python/manyhands/_queues/thread_queue.py", "time.sleep(0.001)"),
    ],
)
def test_tests_and_models_may_yield(tmp_path, name, line):
    opening = "//! A queue.\n" if name.endswith(".rs") else '"""A queue."""\n'
    assert check(tmp_path / name, f"{opening}{line}\n").returncode == 0


def test_finding_no_file_at_all_is_a_failure(tmp_path):
    checked = subprocess.run([sys.executable, CHECK], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 1
