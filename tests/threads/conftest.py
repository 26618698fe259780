"""Programs of their own for what only the end of a process shows; what the hook is told."""

import subprocess
import sys
import textwrap
import threading

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


@pytest.fixture
def run_program(run):
    """As `run`, with warnings as errors, for a program that ends well; its (stdout, stderr)."""

    def run_to_the_end(source, *, status=0):
        ended = run(source, "-W", "error")
        assert ended.returncode == status, ended.stderr
        return ended.stdout, ended.stderr

    return run_to_the_end


@pytest.fixture
def hooked(monkeypatch):
    """The arguments with which `threading.excepthook` was called."""
    calls = []
    monkeypatch.setattr(threading, "excepthook", calls.append)
    return calls
