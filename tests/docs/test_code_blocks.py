"""Every ```python block of the README and of the user guide is a program that runs.

It ends with status 0, without a warning and without a word on standard error, and prints what the
comment behind a `print(...)` shows, up to a semicolon. (A comment that begins with "the" explains.)
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAKE_TARGET = re.compile(r"^make ([a-z-]+)", re.MULTILINE)

PROGRAMS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1)
]


def test_there_are_programs_to_run():
    assert len(PROGRAMS) > 5


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_documentation_runs(program, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")
    command = [sys.executable, "-W", "error", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    for promised in re.findall(r"print\(.*\)\s+# ([^;\n]+)", program):
        if not promised.startswith("the "):
            assert promised.strip() in ended.stdout


def test_the_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = [*PAGES, ROOT / "CONTRIBUTING.md"]
    named = {name for page in pages for name in MAKE_TARGET.findall(page.read_text("utf-8"))}
    assert {"tour", "test"} <= named
    for name in named:
        assert f"\n{name}:" in makefile, name
