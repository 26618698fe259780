"""What the tests of threads share: catching what goes to `threading.excepthook`, programs."""

import subprocess
import sys
import textwrap
import threading

import pytest


@pytest.fixture
def hooked(monkeypatch):
    """The arguments with which `threading.excepthook` was called."""
    calls = []
    monkeypatch.setattr(threading, "excepthook", calls.append)
    return calls


@pytest.fixture
def run_program(tmp_path):
    """Runs the text of a program in a fresh interpreter; returns its (stdout, stderr)."""

    def run(source, *, status=0):
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(source), encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == status, ended.stderr
        return ended.stdout, ended.stderr

    return run
