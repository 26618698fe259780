"""`ThreadGroup`: threads that live no longer than a block of the program.

    open ──the block ends──▶ closing ──all have ended──▶ closed
      │ a thread fails, or the block raises: all are cancelled │

Guarantees: no thread of a group outlives its block; no exception is lost. What it does not do: a
thread that sits in foreign C code holds the block up until that returns.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self

from ._runtime import Lock
from ._std_threading import threading as _standard
from ._thread import Thread

__all__ = ["ThreadGroup"]

_P = ParamSpec("_P")


class ThreadGroup:
    """A block of the program, and the threads that were started in it.

    Leaving the block waits for all of them. The first that fails cancels the others, as
    `Thread.cancel` does, and so does an exception of the block itself. The standard library has
    nothing like it for threads; `asyncio.TaskGroup
    <https://docs.python.org/3/library/asyncio-task.html#task-groups>`_ is the same for tasks.

    Args:
        name: for the names of its threads; None: "group".

    Raises (on leaving the block):
        ExceptionGroup: what threads raised, the block's own exception first. A
            BaseExceptionGroup if one of them is not an Exception.
        KeyboardInterrupt, SystemExit: raised in the block, by itself.

    >>> from manyhands.threading import ThreadGroup
    >>> with ThreadGroup() as kitchen:
    ...     soup = kitchen.start(str.upper, "soup")
    ...     bill = kitchen.start(sum, [3, 4])
    >>> soup.result(), bill.result()
    ('SOUP', 7)
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = "group" if name is None else name
        self._threads: list[_Member] = []
        self._lock = Lock(name=f"{self.name}'s threads")
        self._state = "new"

    def start(
        self, function: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Thread:
        """Starts a thread that calls ``function(*args, **kwargs)``.

        Returns:
            The thread; its `result()` is what the function returned.

        Raises:
            RuntimeError: the block has not begun, or has ended, or the group is being cancelled.
        """
        with self._lock:
            if self._state != "open":
                raise RuntimeError(
                    f"cannot start a thread in {self.name!r}: {_REASON[self._state]}"
                )
            thread = _Member(self, f"{self.name}-{len(self._threads) + 1}", function, args, kwargs)
            thread.start()
            self._threads.append(thread)
        return thread

    def cancel(self) -> None:
        """Cancels all threads of the group; none can be started any more."""
        with self._lock:
            if self._state in ("new", "open"):
                self._state = "cancelled"
            threads = list(self._threads)
        for thread in threads:
            if thread is not _standard.current_thread():
                thread.cancel()

    def __enter__(self) -> Self:
        with self._lock:
            if self._state != "new":
                raise RuntimeError(f"the block of {self.name!r} can be entered once only.")
            self._state = "open"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                self.cancel()
            interrupt = self._wait_for_all()
            failures = [error] if error is not None else []
            failures += [thread.failure for thread in self._threads if thread.failure is not None]
            if interrupt is not None:
                raise interrupt
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                return
            if failures:
                sentence = f"{self.name!r} has failed"
                raise BaseExceptionGroup(sentence, failures) from None
        finally:
            # The exception refers to this frame: it must not keep itself alive.
            del error, kind, traceback

    def _wait_for_all(self) -> BaseException | None:
        """Waits until every thread has ended; what interrupted the waiting, if anything did."""
        interrupt: BaseException | None = None
        while True:
            with self._lock:
                alive = [thread for thread in self._threads if thread.is_alive()]
                if not alive:
                    self._state = "closed"
                    return interrupt
            try:
                alive[0]._wait_for_end(None)
            except BaseException as error:
                if interrupt is not None:
                    raise  # Asked a second time to let go.
                interrupt = error
                self.cancel()

    def __repr__(self) -> str:
        n_alive = sum(thread.is_alive() for thread in self._threads)
        return f"<ThreadGroup {self.name!r}: {self._state}, {n_alive} running>"


_REASON = {
    "new": "start threads inside of its `with` block.",
    "cancelled": "it is being cancelled.",
    "closed": "its block has ended.",
}


class _Member(Thread):
    """A thread of a group: its failure is the group's."""

    def __init__(
        self,
        group: ThreadGroup,
        name: str,
        function: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(None, function, name, args, kwargs)
        self._group = group

    def run(self) -> None:
        try:
            super().run()
        except Exception:
            self._group.cancel()
            raise

    @property
    def failure(self) -> BaseException | None:
        """What it raised; the group knows then."""
        record = self._record
        if record is None:
            return None
        record.take()
        return record.error


ThreadGroup.__module__ = "manyhands.threading"
