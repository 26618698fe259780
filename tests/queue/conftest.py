"""Fixtures of the queues' tests: the module under test, and what happens beside a test.

What holds for the standard module too runs over both: that it passes there shows that it asks for
what programs rely on.
"""

import importlib

import pytest
from background import program, start, until

__all__ = ["program", "start", "until"]


@pytest.fixture(params=["queue", "manyhands.queue"])
def module(request):
    """The standard module, then ours."""
    return importlib.import_module(request.param)
