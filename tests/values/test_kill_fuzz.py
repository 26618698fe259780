"""Processes are killed while they count: no step is lost but the one in hand, and nobody hangs.

``MANYHANDS_FULL_FUZZ=1`` makes it a thousand kills.
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
N_KILLS = 1_000 if os.environ.get("MANYHANDS_FULL_FUZZ") else 60


@pytest.mark.parametrize("seed", [1, 2])
def test_no_step_of_a_killed_process_is_lost_but_the_one_in_hand(seed):
    root = os.path.dirname(os.path.dirname(manyhands.__file__))
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, str(PROGRAM), str(N_KILLS), str(seed)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    found = json.loads(finished.stdout)
    for kind, noted, counted in zip(found["kinds"], found["noted"], found["counted"], strict=True):
        assert 0 <= counted - noted <= N_KILLS, (kind, noted, counted)
