"""The view that ``executor.options()`` returns: the same workers, with options for each task."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from manyhands import _runtime
from manyhands._futures.executor import Executor
from manyhands._futures.future import Future

__all__ = ["OptionsView"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class OptionsView(Executor):
    """An executor that gives its options to each task it submits to another one."""

    def __init__(self, executor: Executor, *, timeout: float | None, name: str | None) -> None:
        _runtime.check_options(timeout, name)
        self._executor = executor
        self._takes_chunks = executor._takes_chunks
        self._timeout = timeout
        self._name = name

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Schedules ``fn(*args, **kwargs)`` with the options of this view."""
        return self._executor._submit(fn, args, kwargs, self._timeout, self._name)

    def _submit(
        self,
        fn: Callable[..., _T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
        timeout: float | None,
        name: str | None,
    ) -> Future[_T]:
        timeout = self._timeout if timeout is None else timeout
        name = self._name if name is None else name
        return self._executor._submit(fn, args, kwargs, timeout, name)

    def _submit_items(
        self,
        fn: Callable[..., _T],
        starred: bool,
        timeout: float | None,
        name: str | None,
        items: Any,
    ) -> Future[list[_T]]:
        timeout = self._timeout if timeout is None else timeout
        name = self._name if name is None else name
        return self._executor._submit_items(fn, starred, timeout, name, items)

    def options(self, *, timeout: float | None = None, name: str | None = None) -> "OptionsView":
        """Returns a view with these options; what is not given stays as it is here."""
        timeout = self._timeout if timeout is None else timeout
        name = self._name if name is None else name
        return OptionsView(self._executor, timeout=timeout, name=name)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shuts the executor down, not only this view."""
        if not cancel_futures:
            self._submit_waiting_maps()
        self._executor.shutdown(wait, cancel_futures=cancel_futures)

    def statistics(self) -> dict[str, Any]:
        """Returns the executor's statistics."""
        return self._executor.statistics()

    def _stop_now(self) -> None:
        self._executor._stop_now()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def __repr__(self) -> str:
        return f"<{self._executor!r} with timeout={self._timeout!r} name={self._name!r}>"
