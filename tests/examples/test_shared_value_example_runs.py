"""examples/python/process_shared_value.py counts to 450, and says where it does not."""

import os
import pathlib
import re
import subprocess
import sys

import manyhands
import pytest

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples/python/process_shared_value.py"
PACKAGE_ROOT = str(pathlib.Path(manyhands.__file__).resolve().parents[1])

pytestmark = pytest.mark.timeout(120)


def run(tmp_path):
    path = os.pathsep.join(filter(None, [PACKAGE_ROOT, os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout.splitlines(), finished.stderr


@pytest.mark.parametrize("attempt", range(3))
def test_nine_processes_count_to_450_with_the_lock_and_atomically(attempt, tmp_path):
    n_lost = 0
    # Until two of the processes came at once.
    while not n_lost:
        lines, errors = run(tmp_path)
        counted, n_lost = map(int, re.findall(r"\d+", lines[0]))
    assert "count_with_the_lock: 450, updates seen lost: 0" in lines
    assert "count_atomically: 450, updates seen lost: 0" in lines
    assert counted < 450
    # One sentence says where they come from.
    assert errors.count("an update of a shared value was lost") == 1
    assert errors.count(EXAMPLE.name) == 3
