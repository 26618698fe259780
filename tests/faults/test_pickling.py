"""What cannot be pickled fails its own future at once, and says which object and where.

The process pool never waits for something that will not come, and the next task finds it as it was.
"""

import functools
import io
import operator
import pickle
import threading

import family_watch
import hostile_tasks as tasks
import pickling_traps as traps
import pytest
from manyhands import UnpicklableResult, WorkerCrashed
from manyhands.futures import ProcessPoolExecutor

pytestmark = pytest.mark.timeout(120)

# The standard library raises any of these for an object that pickle refuses.
REFUSALS = (pickle.PicklingError, TypeError, AttributeError)


@pytest.fixture
def pool():
    with ProcessPoolExecutor(max_workers=1) as executor:
        yield executor
        assert executor.submit(tasks.square, 9).result(60) == 81, "the pool goes on"


def test_an_argument_that_cannot_be_pickled_is_named_with_its_place(pool):
    error = pool.submit(operator.eq, 1, traps.HasLock()).exception(60)
    assert isinstance(error, REFUSALS)
    assert "argument 2" in str(error)
    assert ".lock" in str(error)


def test_the_place_is_given_through_containers_and_attributes(pool):
    error = pool.submit(tasks.identity, traps.Nested()).exception(60)
    assert isinstance(error, REFUSALS)
    for part in ("argument 1", ".parts", "inner", ".lock"):
        assert part in str(error)


def test_a_keyword_argument_that_cannot_be_pickled_is_named(pool):
    error = pool.submit(functools.partial(dict), shelf=threading.Lock()).exception(60)
    assert isinstance(error, REFUSALS)
    assert "shelf" in str(error)
    assert "lock" in str(error)


def test_an_item_of_map_that_cannot_be_pickled_fails_only_itself(pool):
    futures = [pool.submit(tasks.identity, value) for value in (1, threading.Lock(), 3)]
    assert futures[0].result(60) == 1
    assert isinstance(futures[1].exception(60), REFUSALS)
    assert futures[2].result(60) == 3
    results = pool.map(tasks.identity, [1, threading.Lock(), 3])
    assert next(results) == 1
    with pytest.raises(REFUSALS, match="lock"):
        next(results)


def test_a_function_whose_closure_cannot_be_pickled_says_so(pool):
    lock = threading.Lock()
    error = pool.submit(lambda: lock).exception(60)
    assert isinstance(error, REFUSALS)
    assert "lock" in str(error)


def test_a_result_that_cannot_be_pickled_is_named_with_its_place(pool):
    error = pool.submit(traps.give, traps.Nested).exception(60)
    assert isinstance(error, REFUSALS)
    assert not isinstance(error, WorkerCrashed)
    for part in ("result", ".parts", ".lock"):
        assert part in str(error)


@pytest.mark.parametrize("place", ["argument", "result"])
def test_a_reduce_that_raises_is_the_error_of_its_future(pool, place):
    if place == "argument":
        error = pool.submit(tasks.identity, traps.ReduceRaises()).exception(60)
    else:
        error = pool.submit(traps.give, traps.ReduceRaises).exception(60)
    assert "this object does not want to be pickled" in str(error)
    assert "ReduceRaises" in str(error)


def test_a_result_whose_reduce_never_returns_can_be_stopped(pool):
    late = pool.options(timeout=0.3).submit(traps.give, traps.ReduceNeverReturns)
    assert isinstance(late.exception(60), TimeoutError)
    stuck = pool.submit(traps.give, traps.ReduceNeverReturns)
    family_watch.wait_until(stuck.running, "it runs")
    assert stuck.cancel(running=True)


def test_a_result_whose_reduce_ends_the_worker_is_a_crash_of_that_task(pool):
    error = pool.submit(traps.give, traps.ReduceExits).exception(60)
    assert isinstance(error, WorkerCrashed)
    assert error.exitcode == 5


def test_an_argument_that_cannot_be_unpickled_fails_its_future(pool):
    error = pool.submit(tasks.identity, traps.UnpickleRaises()).exception(60)
    assert isinstance(error, UnpicklableResult)
    assert "this object does not want to be unpickled" in str(error)


def test_an_argument_whose_unpickling_ends_the_worker_is_a_crash_of_that_task(pool):
    error = pool.submit(tasks.identity, traps.UnpickleExits()).exception(60)
    assert isinstance(error, WorkerCrashed)
    assert error.exitcode == 6


def test_an_argument_whose_unpickling_hangs_can_be_stopped(pool):
    late = pool.options(timeout=0.3).submit(tasks.identity, traps.UnpickleHangs())
    assert isinstance(late.exception(60), TimeoutError)


def test_a_result_that_cannot_be_unpickled_fails_its_future_every_time_it_is_asked(pool):
    future = pool.submit(traps.give, traps.UnpickleRaises)
    for _ in range(3):
        with pytest.raises(UnpicklableResult, match="does not want to be unpickled"):
            future.result(60)
    assert isinstance(future.exception(60), UnpicklableResult)


@pytest.mark.parametrize(
    ("kind", "arguments", "keywords", "said"),
    [
        (traps.LockInsideError, ("it went wrong",), {}, "it went wrong"),
        (traps.TwoArgumentsError, (404, "not found"), {}, "404: not found"),
        (traps.KeywordError, (), {"reason": "no reason"}, "KeywordError"),
    ],
    ids=["lock inside", "constructor with two arguments", "constructor with a keyword"],
)
def test_an_error_that_cannot_travel_is_reported_with_its_name_and_text(
    pool, kind, arguments, keywords, said
):
    error = pool.submit(traps.raise_it, kind, *arguments, **keywords).exception(60)
    assert isinstance(error, Exception)
    assert not isinstance(error, WorkerCrashed)
    shown = f"{error!r} {error.__cause__}"
    assert kind.__name__ in shown
    assert said in shown
    assert "raise_it" in shown, "the remote traceback is there"


def test_an_error_with_a_cause_that_cannot_travel_is_reported(pool):
    error = pool.submit(traps.raise_with_cause).exception(60)
    shown = f"{error!r} {error.__cause__}"
    assert "outer" in shown
    assert "inner" in shown


def test_an_error_brings_its_remote_traceback_as_cause(pool):
    error = pool.submit(tasks.raise_error, LookupError, "shelf 3").exception(60)
    assert type(error) is LookupError
    assert error.args == ("shelf 3",)
    assert "in raise_error" in str(error.__cause__)


@pytest.mark.parametrize(
    "function",
    [
        lambda number: number + 1,
        functools.partial(operator.add, 1),
        (1).__add__,
        functools.lru_cache(lambda number: number + 1),
    ],
    ids=["lambda", "partial", "bound method", "cached lambda"],
)
def test_anything_callable_is_a_task(pool, function):
    assert pool.submit(function, 41).result(60) == 42
    assert list(pool.map(function, range(3), timeout=60)) == [1, 2, 3]


def test_nested_functions_and_closures_see_the_values_of_their_own_time(pool):
    offset = 1

    def add(number):
        return number + offset

    first = pool.submit(add, 1)
    first.result(60)
    offset = 10
    assert first.result() == 2
    assert pool.submit(add, 1).result(60) == 11, "a changed closure is sent again"


def test_a_callable_object_that_changed_is_not_taken_from_the_workers_memory(pool):
    class Adder:
        def __init__(self):
            self.offset = 1

        def __call__(self, number):
            return number + self.offset

    adder = Adder()
    assert pool.submit(adder, 1).result(60) == 2
    adder.offset = 10
    assert pool.submit(adder, 1).result(60) == 11


def test_a_local_class_comes_back_as_the_class_it_was(pool):
    class Point:
        def __init__(self, x):
            self.x = x

    point = pool.submit(lambda p: Point(p.x + 1), Point(1)).result(60)
    assert type(point) is Point
    assert point.x == 2


def test_many_short_lived_functions_do_not_pile_up_or_get_mixed_up(pool):
    # Functions that die make room for others at the same address.
    for number in range(500):
        assert pool.submit(eval(f"lambda: {number}")).result(60) == number


def test_unpicklable_things_of_the_system_are_named(pool):
    error = pool.submit(tasks.identity, io.BufferedReader(io.BytesIO())).exception(60)
    assert isinstance(error, REFUSALS)
    assert "BufferedReader" in str(error)
    error = pool.submit(tasks.identity, (n for n in range(3))).exception(60)
    assert isinstance(error, REFUSALS)
    assert "generator" in str(error)


def test_unpickling_a_result_may_import_a_module_for_the_first_time(run):
    finished = run(
        """
import sys
from manyhands.futures import ProcessPoolExecutor

def make():
    import decimal, fractions
    return fractions.Fraction(1, 3), decimal.Decimal("0.1")

with ProcessPoolExecutor(max_workers=1) as executor:
    assert "fractions" not in sys.modules
    print(*executor.submit(make).result(60))
"""
    )
    assert (finished.status, finished.out) == (0, "1/3 0.1\n"), finished.err


@pytest.mark.parametrize("kind", ["Process", "Thread"])
def test_a_module_may_use_a_pool_while_it_is_being_imported(run, tmp_path, kind):
    (tmp_path / "imports_and_submits.py").write_text(
        f"""
from manyhands.futures import {kind}PoolExecutor
with {kind}PoolExecutor(max_workers=1) as executor:
    ANSWER = executor.submit(pow, 2, 10).result(30)
"""
    )
    finished = run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import imports_and_submits\nprint(imports_and_submits.ANSWER)"
    )
    assert (finished.status, finished.out) == (0, "1024\n"), finished.err
