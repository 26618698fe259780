"""Fixtures of the shared locks' tests: contexts, forked processes, programs of their own.

What holds for the standard module too runs over both: that it passes there shows that it asks for
what programs rely on.
"""

import multiprocessing

import pytest
from background import program, start, until
from forked import fork
from manyhands import multiprocessing as ours

__all__ = ["fork", "program", "start", "until"]


@pytest.fixture(params=["standard", "ours"])
def mp(request):
    """The fork context of the standard module, then of ours."""
    module = {"standard": multiprocessing, "ours": ours}[request.param]
    return module.get_context("fork")


@pytest.fixture(params=["template", "fork", "spawn"])
def context(request):
    """Our contexts."""
    return ours.get_context(request.param)
