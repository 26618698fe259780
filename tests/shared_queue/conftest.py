"""Fixtures of the tests of queues between processes: programs of their own, and start methods."""

import pytest
from background import program, start, until
from manyhands import multiprocessing

__all__ = ["program", "start", "until"]


@pytest.fixture(params=["fork", "template", "spawn"])
def ctx(request):
    """A context of each start method."""
    return multiprocessing.get_context(request.param)
