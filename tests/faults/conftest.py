"""Fixtures of the hostile tests: programs in their own family, watched to their last process.

The modules beside this file (`hostile_tasks`, `family_watch`) are imported by the tests and by the
worker processes alike, so their folder is put on the import path once, here.
"""

import pathlib
import sys

import pytest

HERE = str(pathlib.Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

import family_watch  # noqa: E402 - its folder has to be on the path first


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


@pytest.fixture
def run(program):
    """Run a program to its end; return its exit status, output and errors."""

    def run_to_the_end(source, *, timeout_seconds=60, **options):
        family = program(source, **options)
        return family.wait(timeout_seconds)

    return run_to_the_end


@pytest.fixture
def marks(tmp_path):
    """A file to which tasks in any process append marks, and which the test reads."""
    return family_watch.Marks(str(tmp_path / "marks"))
