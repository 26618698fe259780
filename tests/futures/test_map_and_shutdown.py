"""What a ``map`` has left when its executor is shut down, in threads and in processes.

The standard module submits the whole input at the call; ours does so before a shutdown.
"""

import os
import subprocess
import sys
from concurrent.futures import CancelledError

import pytest
from manyhands._map import DEFAULT_WINDOW
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor

N_ITEMS = DEFAULT_WINDOW + 500


@pytest.fixture(params=[ThreadPoolExecutor, ProcessPoolExecutor])
def pool(request):
    with request.param(1) as pool:
        yield pool


@pytest.fixture(params=["never asked", "asked once"])
def results(request, pool):
    results = pool.map(abs, range(N_ITEMS))
    if request.param == "asked once":
        assert next(results) == 0
    return results


class BrokenInput:
    def __len__(self):
        return N_ITEMS

    def __iter__(self):
        yield from range(N_ITEMS)
        raise OSError("the input broke")


@pytest.mark.parametrize("wait", [True, False])
def test_a_shutdown_takes_nothing_from_a_map(pool, results, wait):
    pool.shutdown(wait=wait)
    assert sum(results) == sum(range(N_ITEMS))


def test_a_map_of_a_view_is_not_cut_by_the_shutdown_of_its_executor(pool):
    results = pool.options(timeout=100).map(abs, range(N_ITEMS))
    pool.shutdown()
    assert sum(results) == sum(range(N_ITEMS))


def test_a_shutdown_that_cancels_cancels_the_input_that_is_left(pool):
    taken = []

    class Counted:
        def __len__(self):
            return N_ITEMS

        def __iter__(self):
            for n in range(N_ITEMS):
                taken.append(n)
                yield n

    results = pool.map(abs, Counted())
    n_taken = len(taken)
    pool.shutdown(cancel_futures=True)
    n_results, n_cancelled = 0, 0
    while True:
        try:
            next(results)
            n_results += 1
        except CancelledError:
            n_cancelled += 1
        except StopIteration:
            break
    assert len(taken) == n_taken < N_ITEMS
    assert n_results + n_cancelled == n_taken + 1, "one more tells that there was input left"


def test_what_was_computed_of_an_input_without_a_length_comes_before_the_refusal(pool):
    results = pool.map(abs, iter(range(N_ITEMS)))
    pool.shutdown()
    assert [next(results) for _ in range(DEFAULT_WINDOW)] == list(range(DEFAULT_WINDOW))
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        next(results)
    assert list(results) == []


def test_an_error_of_the_input_comes_in_its_place_and_hinders_no_shutdown(pool):
    results = pool.map(abs, BrokenInput())
    pool.shutdown()
    assert [next(results) for _ in range(N_ITEMS)] == list(range(N_ITEMS))
    with pytest.raises(OSError, match="the input broke"):
        next(results)
    assert list(results) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_of_the_input_of_a_dropped_map_is_shown(pool, monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    results = pool.map(abs, BrokenInput())
    del results
    assert [str(unraisable.exc_value) for unraisable in shown] == ["the input broke"]


@pytest.mark.parametrize(
    "end",
    [
        "executor.shutdown()",
        "executor.shutdown(wait=False)",
        "executor.shutdown(cancel_futures=True)",
        "executor.shutdown(wait=False, cancel_futures=True)",
        "executor._stop_now()",
    ],
)
def test_a_map_that_is_dropped_after_the_end_of_its_executor_says_nothing(pool, results, end):
    # A warning about an exception in a finalizer is an error of the test.
    exec(end, {"executor": pool})
    del results


@pytest.mark.parametrize("kind", ["ThreadPoolExecutor", "ProcessPoolExecutor"])
def test_the_end_of_the_program_leaves_no_input_undone(kind, tmp_path):
    program = f"""
import os
from manyhands.futures import {kind}

fd = os.open({str(tmp_path / "done")!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
executor = {kind}(1, **({{"mp_context": "fork"}} if {kind!r}.startswith("Process") else {{}}))
results = executor.map(os.write, [fd] * {N_ITEMS}, [b"."] * {N_ITEMS})
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100
    )
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert os.path.getsize(tmp_path / "done") == N_ITEMS
