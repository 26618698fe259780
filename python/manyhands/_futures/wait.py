"""``wait`` and ``as_completed``: fast where all futures are tasks of our executors.

Guarantees: the standard signatures and results; a set that also holds other futures goes to the
standard functions, which know ours too.
"""

import concurrent.futures
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from manyhands._runtime import Gatherer, any_error

__all__ = ["as_completed", "wait"]

_F = TypeVar("_F", bound=concurrent.futures.Future[Any])

# Imported by name: `manyhands.install()` replaces the attributes of the standard module. Their own
# types say that what comes out is the base class, not the class that went in.
_standard_as_completed: Any = concurrent.futures._base.as_completed
_standard_wait: Any = concurrent.futures._base.wait
if TYPE_CHECKING:

    class DoneAndNotDoneFutures(NamedTuple, Generic[_F]):
        """The standard result of `wait`, for whatever class of futures was given."""

        done: set[_F]
        not_done: set[_F]
else:
    DoneAndNotDoneFutures = concurrent.futures._base.DoneAndNotDoneFutures


def wait(
    fs: Iterable[_F], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDoneFutures[_F]:
    """Waits for futures; returns a named tuple of two sets, ``done`` and ``not_done``.

    Args:
        fs: the futures; duplicates count once.
        timeout: seconds to wait at most; None: no limit.
        return_when: FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED.

    Mirrors https://docs.python.org/3/library/concurrent.futures.html#concurrent.futures.wait.

    >>> from manyhands.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     done, not_done = wait([pool.submit(abs, -1), pool.submit(abs, -2)])
    >>> sorted(future.result() for future in done)
    [1, 2]
    """
    fs = set(fs)
    gatherer = Gatherer.of(fs)
    if gatherer is None:
        standard: DoneAndNotDoneFutures[_F] = _standard_wait(fs, timeout, return_when)
        return standard
    _check_return_when(return_when)
    try:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (future := gatherer.next(deadline)) is not None:
            if return_when == FIRST_COMPLETED:
                break
            if return_when == FIRST_EXCEPTION and any_error((future,)):
                break
    finally:
        gatherer.close()
    done = {future for future in fs if future.done()}
    return DoneAndNotDoneFutures(done, fs - done)


def as_completed(fs: Iterable[_F], timeout: float | None = None) -> Iterator[_F]:
    """Yields futures as they complete.

    Args:
        fs: the futures; duplicates are yielded once.
        timeout: seconds from the first ``next()`` in which all must complete; None: no limit.

    Raises:
        TimeoutError: from ``next()``, when time is over; it says how many are unfinished.

    Mirrors ``as_completed`` of https://docs.python.org/3/library/concurrent.futures.html.

    >>> from manyhands.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     futures = [pool.submit(abs, -n) for n in (1, 2)]
    ...     sorted(future.result() for future in as_completed(futures))
    [1, 2]
    """
    fs = set(fs)
    gatherer = Gatherer.of(fs)
    if gatherer is None:
        standard = _standard_as_completed(fs, timeout)
        del fs
        yield from standard
        return
    total = len(fs)
    # A future that has been yielded must not be kept alive from here.
    del fs
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while len(gatherer):
            result = [gatherer.next(deadline)]
            if result[0] is None:
                raise TimeoutError(f"{len(gatherer)} (of {total}) futures unfinished")
            yield result.pop()
    finally:
        gatherer.close()


def _check_return_when(return_when: str) -> None:
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise ValueError(f"Invalid return condition: {return_when!r}")
