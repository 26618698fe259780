"""Fixtures of the detector's tests. Their programs run in processes of their own.

That is not only for safety: the detector believes that everyone is asleep only if really every
thread of the process is, and pytest's watchdogs are threads that are not.
"""

import os
import pathlib
import subprocess
import sys

import manyhands
import pytest

HERE = pathlib.Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))  # For the generator of programs and its oracle.

WATCHDOG_S = 60
PACKAGE_ROOT = str(pathlib.Path(manyhands.__file__).resolve().parents[1])


@pytest.fixture(scope="session")
def environment():
    """What a child process needs to import the package under test."""
    path = os.pathsep.join(filter(None, [PACKAGE_ROOT, os.environ.get("PYTHONPATH")]))
    inherited = {name: value for name, value in os.environ.items() if name != "MANYHANDS_DEADLOCK"}
    return {**inherited, "PYTHONPATH": path}


@pytest.fixture
def run(environment, tmp_path):
    """Runs the text of a program as `program.py` to its end; fails if it hangs.

    `status` is its exit status, `stdout` and `stderr` what it wrote.
    """

    def run_to_the_end(source, *, command=(), **variables):
        file = tmp_path / "program.py"
        file.write_text(source, encoding="utf-8")
        return subprocess.run(
            [sys.executable, *command, "program.py"],
            cwd=tmp_path,
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WATCHDOG_S,
        )

    return run_to_the_end
