"""What a process pool becomes when a task of it takes it along: an executor on the spot.

A task that submits to its own pool and waits would, with all workers waiting like that, wait for
ever. In a worker the pool therefore runs what it is given at once, in the worker itself: the
outer tasks already use all processors, and nobody waits for anybody.

Guarantees: ``submit`` returns a finished future; errors are the future's.
Does not do: parallelism within a task. A task that wants it makes a pool of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from manyhands._futures.executor import Executor
from manyhands._futures.future import Future

__all__ = ["InlineExecutor"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class InlineExecutor(Executor):
    """Runs each call during ``submit``.

    >>> InlineExecutor().submit(pow, 2, 5).result()
    32
    """

    def __init__(self) -> None:
        self._is_shut_down = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run ``fn(*args, **kwargs)`` now and return its finished future."""
        return self._submit(fn, args, kwargs)

    def _submit(
        self,
        fn: Callable[..., _T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
        timeout: float | None = None,
        name: str | None = None,
    ) -> Future[_T]:
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()
        try:
            result = fn(*args, **(kwargs or {}))
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further calls."""
        self._is_shut_down = True

    def _stop_now(self) -> None:
        self.shutdown()
