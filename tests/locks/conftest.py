"""Fixtures of the primitives' tests: the module under test, and what happens beside a test.

Most of the battery runs over the standard module and over ours: that it passes on the standard one
shows that it asks for what programs rely on.
"""

import importlib

import pytest
from background import program, start, until

__all__ = ["program", "start", "until"]


@pytest.fixture(params=["threading", "manyhands.threading"])
def module(request):
    """The standard module, then ours."""
    return importlib.import_module(request.param)


@pytest.fixture
def ours():
    """Our module, for what the standard one does not have."""
    return importlib.import_module("manyhands.threading")
