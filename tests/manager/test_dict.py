"""A managed dict does what a dict does, and says so in the same words."""

import copy
import enum
import math
import pickle
import random
from collections import namedtuple
from decimal import Decimal
from fractions import Fraction

import pytest
from manyhands.multiprocessing import Manager
from manyhands.multiprocessing.managers import BaseProxy, DictProxy, ListProxy


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Name(str):
    pass


Point = namedtuple("Point", "x y")


@pytest.fixture
def manager():
    with Manager() as manager:
        yield manager


def test_a_random_walk_gives_what_a_dict_gives(manager):
    keys = [
        *range(20),
        *map(float, range(10)),
        *"abcdefgh",
        b"a",
        None,
        True,
        (1, "a"),
        (True, "a"),
    ]
    keys += [1.5, 10**30, -(10**30), (1, (2, 3)), frozenset({1}), Decimal("1.5"), Colour.RED]
    values = [
        0,
        1,
        -1,
        2.5,
        "text",
        "ü" * 300,
        b"bytes",
        None,
        True,
        [1, [2]],
        {"a": 1},
        "x" * 5000,
    ]
    chance = random.Random(5)
    ours, theirs = manager.dict(), {}
    for _ in range(4000):
        key, value = chance.choice(keys), chance.choice(values)
        step = chance.randrange(9)
        if step < 4:
            ours[key] = theirs[key] = value
        elif step == 4:
            assert ours.pop(key, "none") == theirs.pop(key, "none")
        elif step == 5:
            assert ours.setdefault(key, value) == theirs.setdefault(key, value)
        elif step == 6 and theirs:
            assert ours.popitem() == theirs.popitem()
        elif step == 7:
            assert ours.get(key, "none") == theirs.get(key, "none")
        else:
            assert (key in ours) == (key in theirs)
        assert len(ours) == len(theirs)
    # The same keys in the same order, and of the same types.
    assert list(map(repr, ours.items())) == list(map(repr, theirs.items()))
    assert ours.keys() == list(theirs)
    assert ours.values() == list(theirs.values())
    assert list(reversed(ours)) == list(reversed(theirs))


def test_equal_keys_of_different_types_are_one_key(manager):
    d = manager.dict()
    d[1] = "int"
    d[True] = "bool"
    d[1.0] = "float"
    d[Level.LOW] = "enum"
    assert d.copy() == {1: "enum"}
    assert type(d.keys()[0]) is int
    d[Name("a")] = 1
    d["a"] = 2
    assert d["a"] == 2 and type(d.keys()[1]) is Name
    d[Point(1, 2)] = "point"
    assert d[(1, 2.0)] == "point" and type(d.keys()[2]) is Point


def test_other_hashable_keys_are_compared_by_equality(manager):
    d = manager.dict()
    d[frozenset({"a", "b", "c"})] = 1
    d[frozenset({"c", "b", "a"})] = 2
    d[Decimal("1.50")] = 3
    d[Decimal("1.5")] = 4
    d[Colour.RED] = 5
    assert len(d) == 3
    assert d[frozenset({"b", "a", "c"})] == 2
    assert d[Decimal("1.500")] == 4
    assert d[Fraction(3, 2)] == d[1.5] == 4
    assert d[Colour.RED] == 5 and Colour.BLUE not in d
    del d[Decimal("1.5000")]
    assert Decimal("1.5") not in d


def test_keys_that_a_dict_refuses_are_refused(manager):
    d = manager.dict()
    for key in ([], {}, {1}, ([],)):
        with pytest.raises(TypeError, match="unhashable"):
            d[key] = 1
        with pytest.raises(TypeError, match="unhashable"):
            d[key]
    with pytest.raises(TypeError, match="cannot be"):
        d[d] = 1


def test_unusual_texts_and_numbers_are_keys(manager):
    d = manager.dict()
    keys = ["", "\ud800", "\0", "a" * 10_000, b"", -0.0, math.inf, -math.inf, 2**63, -(2**63), ()]
    for number, key in enumerate(keys):
        d[key] = number
    assert [d[key] for key in keys] == list(range(len(keys)))
    assert d.keys() == keys
    assert str(d.keys()[5]) == "-0.0"
    assert d[0] == 5
    d[math.nan] = "nan"
    assert d[math.nan] == "nan"


def test_what_is_missing_raises_as_in_a_dict(manager):
    d = manager.dict()
    with pytest.raises(KeyError) as raised:
        d[(1, 2)]
    assert raised.value.args == ((1, 2),)
    with pytest.raises(KeyError):
        del d["a"]
    with pytest.raises(KeyError):
        d.pop("a")
    with pytest.raises(KeyError, match="empty"):
        d.popitem()
    with pytest.raises(TypeError):
        d.pop("a", 1, 2)


def test_update_takes_what_a_dict_takes(manager):
    d = manager.dict([("a", 1)], b=2)
    d.update({"c": 3}, d=4)
    d.update(e=5)
    d |= {"f": 6}
    assert d.copy() == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}
    assert d | {"a": 0} == {**d.copy(), "a": 0}
    assert {"z": 0} | d == {"z": 0, **d.copy()}
    d.update(manager.dict(g=7))
    assert d["g"] == 7


def test_iterating_notices_that_keys_came_or_went(manager):
    d = manager.dict(a=1, b=2)
    keys = iter(d)
    assert next(keys) == "a"
    d["a"] = 5
    assert next(keys) == "b"
    assert list(keys) == []
    keys = iter(d)
    d["c"] = 3
    with pytest.raises(RuntimeError, match="changed size"):
        next(keys)


def test_it_shows_itself_as_the_standard_proxy_does(manager):
    d = manager.dict(a=1)
    assert str(d) == "{'a': 1}"
    assert repr(d) == f"<DictProxy object, typeid 'dict' at {id(d):#x}>"
    assert isinstance(d, BaseProxy)
    assert d._getvalue() == {"a": 1}
    assert d._callmethod("get", ("a",)) == 1
    assert DictProxy[str, int] is not None


def test_nested_objects_live_in_what_they_are_in(manager):
    outer = manager.dict()
    outer["inner"] = manager.dict(n=manager.list([1]))
    outer["inner"]["n"].append(2)
    assert outer["inner"]["n"][:] == [1, 2]
    inner = outer["inner"]
    del outer["inner"]
    assert inner["n"][:] == [1, 2]
    assert type(outer.setdefault("l", manager.list())) is ListProxy
    outer["l"].append(1)
    assert outer.pop("l")[:] == [1]


def test_a_copy_is_another_dict_and_a_pickle_is_the_same_one(manager):
    d = manager.dict(a=[1])
    same = pickle.loads(pickle.dumps(d))
    same["b"] = 2
    assert d["b"] == 2
    assert copy.copy(d)["b"] == 2
    deep = copy.deepcopy(d)
    assert type(deep) is dict and deep == {"a": [1], "b": 2}


def test_a_value_that_cannot_be_pickled_changes_nothing(manager):
    class Refuses:
        def __reduce__(self):
            raise RuntimeError("not me")

    d = manager.dict(a=1)
    with pytest.raises(RuntimeError, match="not me"):
        d["a"] = Refuses()
    with pytest.raises(RuntimeError, match="not me"):
        d.update({"b": 1, "c": Refuses()})
    assert d.copy() == {"a": 1}


def test_add_counts_numbers_of_any_kind(manager):
    d = manager.dict()
    assert d.add("n") == 1
    assert d.add("n", 41) == 42
    assert d.add("big", 2**62) == 2**62
    assert d.add("big", 2**62) == 2**63
    assert d.add("x", 0.5) == 0.5
    assert d.add("text", 0) == 0
    d["text"] = "a"
    assert d.add("text", "b") == "ab"


def test_update_item_and_compare_exchange(manager):
    d = manager.dict(a=[1])
    assert d.update_item("a", lambda value: [*value, 2]) == [1, 2]
    assert d.update_item("b", lambda value: value + 1, 0) == 1
    with pytest.raises(KeyError):
        d.update_item("c", lambda value: value)
    with pytest.raises(ZeroDivisionError):
        d.update_item("a", lambda value: 1 / 0)
    assert d["a"] == [1, 2]
    assert not d.compare_exchange("a", [1], "x")
    assert d.compare_exchange("a", [1, 2], "x")
    assert not d.compare_exchange("absent", None, 1)
    assert d.copy() == {"a": "x", "b": 1}


def test_statistics_count_keys_and_changes(manager):
    d = manager.dict(a=1)
    del d["a"]
    d["b"] = 2
    assert d.statistics() == {"n_items": 1, "n_key_changes": 3, "n_mended_after_death": 0}


class Looks:
    """Looks, while it is pickled, which keys are there."""

    def __init__(self, d):
        self.d, self.seen = d, None

    def __reduce__(self):
        self.seen = self.d.keys()
        return str, ("seen",)


def test_an_update_sets_nothing_before_all_of_it_is_packed(manager):
    d = manager.dict()
    looks = Looks(d)
    d.update({"first": 0, frozenset({1}): 1, "last": looks})
    assert looks.seen == []
    assert d.copy() == {"first": 0, frozenset({1}): 1, "last": "seen"}
    with pytest.raises(TypeError):
        d.update({frozenset({2}): 2, "bad": (n for n in "ab")})
    assert d.keys() == ["first", frozenset({1}), "last"]
