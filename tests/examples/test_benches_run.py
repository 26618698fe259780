"""The benchmarks run in their quick mode. What they measure is never asserted."""

import os
import pathlib
import subprocess
import sys

import manyhands
import pytest

BENCHES = pathlib.Path(__file__).resolve().parents[2] / "benches"
PACKAGE_ROOT = str(pathlib.Path(manyhands.__file__).resolve().parents[1])
APART = {"run", "soak"}
NAMES = sorted(
    path.stem for path in BENCHES.glob("*.py") if path.stem not in APART and path.stem[0] != "_"
)

pytestmark = [pytest.mark.timeout(240), pytest.mark.any_python]


@pytest.mark.parametrize("name", NAMES)
def test_the_benchmark_runs_and_shows_a_summary(name):
    finished = run("run.py", "--quick", name)
    assert "verdict" in finished.stdout
    assert "Traceback" not in finished.stderr, finished.stderr


def test_the_soak_leaves_nothing_behind():
    run("soak.py", "--seconds", "3")


def run(program, *options):
    """Runs a program of the folder to its good end."""
    path = os.pathsep.join(filter(None, [PACKAGE_ROOT, os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, str(BENCHES / program), *options],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished
