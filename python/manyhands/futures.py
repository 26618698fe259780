"""The drop-in for `concurrent.futures`: change the import, keep the program.

>>> from manyhands.futures import ThreadPoolExecutor, as_completed, wait
"""

from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    InvalidStateError,
    TimeoutError,  # noqa: A004  # the standard module exports the builtin too
)

from manyhands._errors.pools import Cancelled, RemoteError, UnpicklableResult, WorkerCrashed
from manyhands._futures.executor import Executor
from manyhands._futures.future import Future
from manyhands._futures.process_pool import ProcessPoolExecutor
from manyhands._futures.thread_pool import ThreadPoolExecutor
from manyhands._futures.wait import as_completed, wait

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "Cancelled",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "ProcessPoolExecutor",
    "RemoteError",
    "ThreadPoolExecutor",
    "TimeoutError",
    "UnpicklableResult",
    "WorkerCrashed",
    "as_completed",
    "wait",
]
