"""What type checkers make of the public API: mypy checks this file, pytest runs it."""

import asyncio
import concurrent.futures
from collections.abc import Iterator
from typing import assert_type

import pytest
from manyhands.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)


@pytest.fixture(params=[ThreadPoolExecutor, ProcessPoolExecutor])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """One executor after the other, known only by their common base."""
    executor: Executor
    with request.param(max_workers=2) as executor:
        yield executor


def test_a_future_knows_the_type_of_its_result(pool: Executor) -> None:
    future = assert_type(pool.submit(divmod, 7, 2), Future[tuple[int, int]])
    assert assert_type(future.result(timeout=60), tuple[int, int]) == (3, 1)
    assert assert_type(future.cancel(running=True, grace=0.5), bool) is False
    assert assert_type(future.exception(), BaseException | None) is None


def test_arguments_are_checked_against_the_function(pool: Executor) -> None:
    future = pool.submit(len, 5)  # type: ignore[arg-type]  # mypy complains if this one is unused
    assert isinstance(future.exception(60), TypeError)


def test_what_is_awaited_has_the_type_of_the_result(pool: Executor) -> None:
    async def main() -> None:
        assert assert_type(await pool.submit(str, 5), str) == "5"

    asyncio.run(main())


def test_results_of_a_map_have_the_type_of_the_function(pool: Executor) -> None:
    assert assert_type(list(pool.map(str, range(3))), list[str]) == ["0", "1", "2"]


def test_a_view_with_options_is_typed_like_its_executor(pool: Executor) -> None:
    view = pool.options(timeout=60, name="length")
    assert assert_type(view.submit(len, "abc"), Future[int]).result() == 3
    assert assert_type(next(iter(view.map(len, ["abc"]))), int) == 3


def test_futures_come_out_as_what_they_went_in(pool: Executor) -> None:
    places = {pool.submit(abs, -n): n for n in range(3)}
    for future in as_completed(places):
        assert assert_type(future, Future[int]).result() == places[future]
    done, not_done = wait(places)
    assert_type(done, set[Future[int]])
    assert_type(not_done, set[Future[int]])
    assert (len(done), len(not_done)) == (3, 0)


def test_standard_futures_stay_standard_ones() -> None:
    futures: list[concurrent.futures.Future[int]] = [concurrent.futures.Future()]
    futures[0].set_result(5)
    assert_type(list(as_completed(futures)), list[concurrent.futures.Future[int]])
    assert_type(wait(futures).done, set[concurrent.futures.Future[int]])


def test_ours_serve_where_the_standard_ones_are_asked_for(pool: Executor) -> None:
    standard: concurrent.futures.Executor = pool
    future: concurrent.futures.Future[int] = standard.submit(abs, -3)
    assert future.result(60) == 3
