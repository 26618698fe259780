"""A managed list does what a list does."""

import random

import pytest
from manyhands.multiprocessing import Manager


@pytest.fixture
def manager():
    with Manager() as manager:
        yield manager


def test_a_random_walk_gives_what_a_list_gives(manager):
    chance = random.Random(7)
    ours, theirs = manager.list(), []

    def index():
        return chance.randrange(-12, 12)

    steps = [
        lambda one, values, a, b, c: one.append(values[0]),
        lambda one, values, a, b, c: one.insert(a, values[0]),
        lambda one, values, a, b, c: one.__setitem__(a, values[0]),
        lambda one, values, a, b, c: one.__setitem__(slice(a, b), values),
        lambda one, values, a, b, c: one.__setitem__(slice(a, b, c), values),
        lambda one, values, a, b, c: one[a:b:c],
        lambda one, values, a, b, c: one.__delitem__(a),
        lambda one, values, a, b, c: one.__delitem__(slice(a, b)),
        lambda one, values, a, b, c: one.__delitem__(slice(a, b, c)),
        lambda one, values, a, b, c: one.pop(a),
        lambda one, values, a, b, c: one.reverse(),
        lambda one, values, a, b, c: one.sort(key=repr, reverse=a > 0),
        lambda one, values, a, b, c: one.remove(values[0]),
        lambda one, values, a, b, c: one.index(values[0], a),
        lambda one, values, a, b, c: (one.__imul__(max(c, 0)), None)[1],
        lambda one, values, a, b, c: (one.__iadd__(values), None)[1],
        lambda one, values, a, b, c: (one.count(values[0]), values[0] in one),
        lambda one, values, a, b, c: (one + values, 2 * one, one * 2),
    ]

    def outcome(step, one, *args):
        try:
            return step(one, *args)
        except (IndexError, ValueError) as error:
            return type(error), str(error)

    for _ in range(4000):
        if len(theirs) > 60:
            del ours[10:], theirs[10:]
        values = [chance.choice([1, 1.0, "a", "b" * 400, None, [1], "x" * 3000]) for _ in range(3)]
        args = values, index(), index(), chance.choice([-3, -2, -1, 1, 2, 3])
        step = chance.choice(steps)
        assert outcome(step, ours, *args) == outcome(step, theirs, *args)
        assert ours[:] == theirs
        assert len(ours) == len(theirs)
    assert list(ours) == theirs
    assert list(reversed(ours)) == list(reversed(theirs))


def test_iterating_sees_what_others_do_meanwhile(manager):
    numbers = manager.list(range(3))
    items = iter(numbers)
    numbers[0] = 100
    assert next(items) == 100
    numbers.append(3)
    assert list(items) == [1, 2, 3]
    assert list(items) == []


def test_wrong_indices_raise_as_in_a_list(manager):
    numbers = manager.list([1])
    with pytest.raises(TypeError, match="list indices must be integers or slices, not str"):
        numbers["a"]
    with pytest.raises(IndexError, match="list index out of range"):
        numbers[1]
    with pytest.raises(IndexError, match="assignment"):
        numbers[-2] = 1
    with pytest.raises(IndexError):
        numbers[2**70]
    with pytest.raises(IndexError, match="pop index"):
        numbers.pop(5)
    numbers.clear()
    with pytest.raises(IndexError, match="pop from empty"):
        numbers.pop()
    with pytest.raises(ValueError, match="slice step cannot be zero"):
        numbers[::0]


def test_a_sort_that_fails_changes_nothing(manager):
    mixed = manager.list([2, "a", 1])
    with pytest.raises(TypeError):
        mixed.sort()
    assert mixed[:] == [2, "a", 1]
    # The lock was given back: another operation gets in.
    mixed.append(3)
    assert len(mixed) == 4


def test_sorting_is_stable_also_backwards(manager):
    pairs = manager.list([(1, "a"), (0, "b"), (1, "c"), (0, "d")])
    pairs.sort(key=lambda pair: pair[0], reverse=True)
    assert pairs[:] == [(1, "a"), (1, "c"), (0, "b"), (0, "d")]


def test_a_list_may_hold_itself_and_others(manager):
    outer = manager.list()
    outer.append(outer)
    outer[0].append("inside")
    assert outer[1] == "inside"
    assert str(outer) == f"[{outer!r}, 'inside']" or "ListProxy" in str(outer)
    outer.clear()
    matrix = manager.list([manager.list(range(3)) for _ in range(3)])
    matrix[0][-1] = 55
    assert [row[:] for row in matrix] == [[0, 1, 55], [0, 1, 2], [0, 1, 2]]
    matrix.sort(key=lambda row: -row[2])
    matrix.reverse()
    assert matrix.pop()[:] == [0, 1, 55]


def test_update_item_and_compare_exchange(manager):
    numbers = manager.list([1, 2])
    assert numbers.update_item(-1, lambda n: n * 10) == 20
    assert numbers.compare_exchange(0, 1, 5)
    assert not numbers.compare_exchange(0, 1, 6)
    assert numbers[:] == [5, 20]
