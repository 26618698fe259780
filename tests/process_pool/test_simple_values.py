"""Simple values travel without the pickler; they arrive as what they were, at every boundary."""

import enum

import pytest
from manyhands.futures import ProcessPoolExecutor

BOUNDARIES = [
    *(0, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1),
    *(1.5, float("inf"), float("nan"), -0.0),
    *(True, False, None),
    *("", "é" * 100, "x" * 200, "x" * 201, "\ud800", "\0"),
    *(b"", b"\xff" * 200, b"\xff" * 201),
    *((), (1,), [1], 1j),
]


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


def same(*args):
    return args[0] if len(args) == 1 else args


@pytest.fixture
def pool():
    with ProcessPoolExecutor(max_workers=1) as executor:
        yield executor


@pytest.mark.parametrize("number", range(len(BOUNDARIES)))
def test_a_value_comes_back_with_its_type_and_value(pool, number):
    value = BOUNDARIES[number]
    back = pool.submit(same, value).result(30)
    assert type(back) is type(value)
    assert repr(back) == repr(value)


@pytest.mark.parametrize("value", [Level.HIGH, Text("x")], ids=["enum", "str"])
def test_a_subclass_of_a_simple_type_stays_what_it_is(pool, value):
    back = pool.submit(same, value).result(30)
    assert type(back) is type(value)
    assert back == value


def test_many_and_long_arguments_arrive_in_order(pool):
    for args in (tuple(range(8)), tuple(range(9)), ("a" * 100,) * 5):
        assert pool.submit(same, *args).result(30) == args
