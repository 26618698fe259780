"""Fixtures of the tests of `multiprocessing.Pool` and `ThreadPool`."""

import pathlib
import sys

import pytest
from manyhands.multiprocessing.pool import Pool, ThreadPool

HERE = str(pathlib.Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)


@pytest.fixture(params=[Pool, ThreadPool], ids=["processes", "threads"])
def kind(request):
    """The class under test."""
    return request.param


@pytest.fixture
def pool(kind):
    """A pool of two workers, ended after the test."""
    with kind(2) as pool:
        yield pool
    pool.join()


@pytest.fixture
def processes():
    """A pool of two processes, ended after the test."""
    with Pool(2) as pool:
        yield pool
    pool.join()
