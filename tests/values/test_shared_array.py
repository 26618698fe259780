"""`manyhands.shared_array`: NumPy arrays that travel as handles."""

import copy
import pickle

import manyhands
import pytest

numpy = pytest.importorskip("numpy")
shared_array = manyhands.shared_array


def through_pickle(array):
    return pickle.loads(pickle.dumps(array, pickle.HIGHEST_PROTOCOL))


def test_it_starts_as_zeros_of_the_shape_and_type():
    array = shared_array((2, 3), "i2")
    assert array.shape == (2, 3)
    assert array.dtype == numpy.int16
    assert not array.any()
    assert shared_array(4).shape == (4,)
    assert shared_array(()).shape == ()
    assert shared_array((0, 3)).size == 0


def test_a_pickle_of_it_is_the_same_memory():
    array = shared_array((100, 100))
    pickled = pickle.dumps(array)
    assert len(pickled) < 1_000
    again = pickle.loads(pickled)
    again[5, 5] = 1.5
    assert array[5, 5] == 1.5


VIEWS = {
    "rows": lambda a: a[1:3],
    "steps": lambda a: a[::2, ::-1],
    "transposed": lambda a: a.T,
    "reshaped": lambda a: a.reshape(2, 10),
    "one row": lambda a: a[2],
    "flat": lambda a: a.ravel(),
    "other type": lambda a: a.view("u8"),
    "view of a view": lambda a: a[1:][:, 1:].T,
}
COMPUTED = {
    "sum": lambda a: a + 1,
    "copy": lambda a: a.copy(),
    "astype": lambda a: a.astype("f4"),
    "chosen": lambda a: a[[0, 1]],
    "masked": lambda a: a[a >= 0],
    "concatenated": lambda a: numpy.concatenate([a, a]),
    "deepcopy": copy.deepcopy,
    "sorted": numpy.sort,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_are_pickled_as_views(view):
    array = shared_array((4, 5))
    array[:] = numpy.arange(20).reshape(4, 5)
    seen = view(array)
    again = through_pickle(seen)
    assert again.is_shared
    assert numpy.array_equal(again, seen)
    seen[...] = 7
    assert numpy.array_equal(again, seen)


@pytest.mark.parametrize("compute", COMPUTED.values(), ids=COMPUTED)
def test_what_is_computed_from_it_does_not_claim_to_be_shared(compute):
    array = shared_array((4, 5))
    result = compute(array)
    assert not getattr(result, "is_shared", False)
    again = through_pickle(result)
    again[...] = 9
    assert not array.any()
    assert not numpy.any(result == 9)


def test_results_written_into_it_are_shared():
    array = shared_array(3)
    result = numpy.add(array, 2, out=array)
    result += 1
    assert array.tolist() == [3, 3, 3]
    assert through_pickle(result).is_shared


def test_reductions_are_scalars():
    array = shared_array((2, 2))
    assert isinstance(array.sum(), numpy.float64)
    assert type(array.mean(axis=0)) is numpy.ndarray


def test_a_view_keeps_the_memory_alive():
    view = shared_array(10)[3:5]
    view[:] = 1
    assert through_pickle(view).tolist() == [1, 1]


def test_python_objects_are_refused():
    with pytest.raises(TypeError, match="holds Python objects"):
        shared_array(3, object)
    with pytest.raises(ValueError):
        shared_array(-1)


def test_a_shape_that_is_none_is_refused():
    with pytest.raises(TypeError, match="integer"):
        shared_array("x")
    with pytest.raises(MemoryError, match="more bytes"):
        shared_array((2**62,))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_it_is_ordinary_memory(copied):
    array = shared_array(3)
    other = copied(array)
    other[:] = 1
    assert not other.is_shared
    assert array.tolist() == [0, 0, 0]


def test_records_are_fine():
    array = shared_array(2, [("a", "i4"), ("b", "f8")])
    array["b"][1] = 2.5
    assert through_pickle(array)[1]["b"] == 2.5
