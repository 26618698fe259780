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

    def step(one, choice, values, numbers):
        a, b, c = numbers
        try:
            match choice:
                case 0:
                    one.append(values[0])
                case 1:
                    one.insert(a, values[0])
                case 2:
                    one[a] = values[0]
                case 3:
                    one[a:b] = values
                case 4:
                    return one[a:b:c]
                case 5:
                    del one[a]
                case 6:
                    del one[a:b]
                case 7:
                    del one[a:b:c]
                case 8:
                    return one.pop(a)
                case 9:
                    one.reverse()
                case 10:
                    one.sort(key=repr, reverse=a > 0)
                case 11:
                    one[a:b:c] = values
                case 12:
                    one.remove(values[0])
                case 13:
                    return one.index(values[0], a)
                case 14:
                    one *= chance_of_growth
                case 15:
                    one += values
                case 16:
                    return one.count(values[0]), values[0] in one, one + values, 2 * one
        except (IndexError, ValueError) as error:
            return type(error), str(error)
        return None

    for _ in range(4000):
        if len(theirs) > 60:
            del ours[10:], theirs[10:]
        values = [chance.choice([1, 1.0, "a", "b" * 400, None, [1], "x" * 3000]) for _ in range(3)]
        numbers = index(), index(), chance.choice([-3, -2, -1, 1, 2, 3])
        choice, chance_of_growth = chance.randrange(17), chance.choice([0, 1, 2])
        assert step(ours, choice, values, numbers) == step(theirs, choice, values, numbers)
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
