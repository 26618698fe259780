"""Processes are killed at random moments of everything: the others go on, and all stays whole.

``MANYHANDS_FULL_FUZZ=1`` makes it a thousand kills for each sort of object.
"""

import json
import os
import pathlib
import subprocess
import sys

import manyhands
import pytest

pytestmark = pytest.mark.timeout(300)

PROGRAM = pathlib.Path(__file__).parent / "kill_fuzz_program.py"
N_KILLS = 1_000 if os.environ.get("MANYHANDS_FULL_FUZZ") else 40
KINDS = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_others_go_on_and_all_stays_whole(kind):
    root = os.path.dirname(os.path.dirname(manyhands.__file__))
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, str(PROGRAM), kind, str(N_KILLS), "7"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    found = json.loads(finished.stdout)
    assert found["by_children"] > N_KILLS, found
