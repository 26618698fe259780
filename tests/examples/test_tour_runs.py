"""The tour, with few files: it ends well and shows what it promises.

The times it prints are never asserted: they belong to the machine.
"""

import os
import pathlib
import subprocess
import sys

import manyhands
import pytest

PACKAGE_ROOT = str(pathlib.Path(manyhands.__file__).resolve().parents[1])

pytestmark = pytest.mark.timeout(240)


def run_tour(*arguments):
    """Run ``python -m manyhands tour`` and return the finished process."""
    path = os.pathsep.join(filter(None, [PACKAGE_ROOT, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "manyhands", "tour", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture(scope="module")
def quick_tour():
    finished = run_tour("--quick")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished


def test_the_tour_says_that_all_lanes_gave_the_same_results(quick_tour):
    assert "Every lane gave the same results, with and without the accidents." in quick_tour.stdout
    assert "Traceback" not in quick_tour.stderr
    assert "NO\n" not in quick_tour.stdout


def test_the_tour_shows_every_lane_with_its_time_and_ratio(quick_tour):
    for lane in (
        "one thread, a plain loop",
        "threads, standard",
        "threads, manyhands",
        "processes, standard",
        "processes, manyhands",
    ):
        (row,) = [
            line
            for line in quick_tour.stdout.splitlines()
            if line.startswith(f"  {lane}") and line.endswith("yes")
        ]
        assert "x" in row


def test_the_killed_worker_costs_ours_one_first_try_and_the_standard_pool_everything(quick_tour):
    rows = {
        line.split()[0]: line.split()
        for line in quick_tour.stdout.splitlines()
        if line.split()[:1] in (["standard"], ["manyhands"])
    }
    assert int(rows["manyhands"][3]) == 1
    assert rows["manyhands"][4:] == ["all", "there"]
    assert int(rows["standard"][3]) > 1
    assert "measure " in quick_tour.stdout, "the message names the task that was running"


def test_the_endless_file_is_the_only_one_that_was_stopped(quick_tour):
    assert "61 files, one of them a pipe that nobody writes to: 1 stopped, 60 results" in (
        quick_tour.stdout
    )


def test_a_wrong_argument_is_explained_with_status_2():
    finished = run_tour("--workers", "0")
    assert finished.returncode == 2
    assert "--workers must be at least 1" in finished.stderr
    assert "Traceback" not in finished.stderr
