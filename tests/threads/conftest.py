"""Programs of their own for what only the end of a process shows."""

import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def run(tmp_path):
    """Runs the text of a program to its end; what it printed, and its status."""

    def run(source, *options):
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(source), encoding="utf-8")
        command = [sys.executable, *options, str(program)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run
