"""A thousand workers are killed under load: every task ends exactly once, and nobody hangs."""

import json
import pathlib

import pytest

pytestmark = pytest.mark.timeout(300)

PROGRAM = (pathlib.Path(__file__).parent / "kill_fuzz_program.py").read_text()


@pytest.mark.parametrize(
    ("start_method", "pace", "n_kills", "seed"),
    [
        ("template", "hasty", 400, 1),
        ("template", "hasty", 400, 2),
        ("template", "steady", 250, 3),
        ("template", "steady", 250, 4),
        ("fork", "steady", 150, 5),
        ("spawn", "slow", 20, 6),
    ],
)
def test_every_task_ends_exactly_once_while_random_workers_are_killed(
    program, start_method, pace, n_kills, seed
):
    family = program(PROGRAM, arguments=(start_method, pace, n_kills, seed))
    finished = family.wait(timeout_seconds=240)
    assert finished.status == 0, finished.err[-4000:]
    seen = json.loads(finished.out)
    wrong = {name: n for name, n in seen["outcomes"].items() if name.startswith("wrong")}
    assert not wrong
    assert seen["never_ended"] == 0
    assert seen["ended_twice"] == []
    assert sum(seen["outcomes"].values()) == seen["submitted"]
    # One kill costs at most the one task that ran there; an idle worker's death costs none.
    assert 0 < seen["outcomes"].get("crashed", 0) <= seen["kills"]
    assert seen["kills"] >= n_kills
    assert seen["works_after"]
    family.assert_gone()
