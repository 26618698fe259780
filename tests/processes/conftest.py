"""Fixtures for the tests of processes: every start method, and programs of their own."""

import sys
from pathlib import Path

import pytest
from manyhands import multiprocessing

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import family_watch

METHODS = ("template", "spawn", "fork", "forkserver")


@pytest.fixture(params=METHODS)
def context(request):
    """The context of each start method in turn."""
    return multiprocessing.get_context(request.param)


@pytest.fixture
def program(tmp_path):
    """Start programs in their own family; whatever they leave behind fails the test."""
    families = []

    def start(source, **options):
        family = family_watch.Family(source, tmp_path / f"program_{len(families)}", **options)
        families.append(family)
        return family

    yield start
    remains = [line for family in families for line in family.end()]
    assert not remains, "processes were left behind:\n" + "\n".join(remains)
