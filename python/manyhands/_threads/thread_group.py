"""`ThreadGroup`: threads that live no longer than a block of the program.

    open ──the block ends──▶ closing ──all have ended──▶ closed
      │ a thread fails, or the block raises: all are cancelled │

Guarantees: no thread of a group outlives its block, unless Ctrl-C is pressed a second time while
the end of the block waits for them; no exception is lost. What it does not do: a thread that sits
in foreign C code holds the block up until that returns.
"""

import itertools
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, Self

from manyhands._errors.tasks import Cancelled
from manyhands._runtime import RLock
from manyhands._threads.thread import Thread, cancel, take_failure, wait_for_end

__all__ = ["ThreadGroup"]

_P = ParamSpec("_P")

_number = itertools.count(1)


class ThreadGroup:
    """A block of the program, and the threads that were started in it.

    Leaving the block waits for all of them. The first that fails cancels the others, as
    `Thread.cancel` does, and so does an exception of the block itself. The block runs on when a
    thread fails: it learns of that when it ends. The standard library has nothing like it for
    threads; `asyncio.TaskGroup
    <https://docs.python.org/3/library/asyncio-task.html#task-groups>`_ is the same for tasks.

    Args:
        name: for the names of its threads; None: "ThreadGroup-N".

    Raises (on leaving the block):
        ExceptionGroup: the block's own exception first, then what threads raised, the first to
            fail first. A BaseExceptionGroup if one of them is not an Exception.
        KeyboardInterrupt, SystemExit: raised in the block or while it waits, by itself.

    >>> from manyhands.threading import ThreadGroup
    >>> with ThreadGroup() as kitchen:
    ...     soup = kitchen.start(str.upper, "soup")
    ...     bill = kitchen.start(sum, [3, 4])
    >>> soup.result(), bill.result()
    ('SOUP', 7)
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = f"ThreadGroup-{next(_number)}" if name is None else name
        self._threads: list[Thread] = []
        self._errors: list[BaseException] = []
        # Reentrant: a signal handler may cancel a group that is just starting a thread.
        self._lock = RLock(name=f"threads of {self.name}")
        self._state = "new"

    def start(
        self, function: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Thread:
        """Starts a thread that calls ``function(*args, **kwargs)``.

        The block and the group's threads may do so. In a group that is being cancelled the thread
        is cancelled too, before it calls anything.

        Returns:
            The thread; its `result()` is what the function returned.

        Raises:
            RuntimeError: the block has not begun, or has ended, or no thread can be started now.
        """
        with self._lock:
            if self._state in _REFUSED:
                raise RuntimeError(
                    f"cannot start a thread in {self.name!r}: {_REFUSED[self._state]}"
                )
            name = f"{self.name}-{len(self._threads) + 1} ({_name_of(function)})"
            body = _be_cancelled if self._state == "cancelled" else function
            thread = Thread(None, body, name, args, kwargs)
            thread._mh_on_error = self._has_failed
            # Known before it runs, so that nothing can happen to this thread in between.
            self._threads.append(thread)
            try:
                thread.start()
            except RuntimeError:
                self._threads.remove(thread)
                raise
            return thread

    def cancel(self) -> None:
        """Cancels all threads of the group, and those that are started in it from now on.

        >>> from manyhands.threading import Event, ThreadGroup
        >>> with ThreadGroup() as kitchen:
        ...     waiter = kitchen.start(Event().wait)
        ...     kitchen.cancel()
        """
        with self._lock:
            if self._state == "open":
                self._state = "cancelled"
            threads = list(self._threads)
        for thread in threads:
            cancel(thread)

    def __enter__(self) -> Self:
        with self._lock:
            if self._state != "new":
                raise RuntimeError(
                    f"the block of {self.name!r} can be entered once only: make a new ThreadGroup."
                )
            self._state = "open"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        interrupt: BaseException | None = None
        try:
            if error is not None:
                self.cancel()
            interrupt = self._wait_for_all()
            # What threads raised is left to `threading.excepthook` in these two cases.
            if isinstance(error, _BY_ITSELF):
                return
            if isinstance(interrupt, _BY_ITSELF):
                raise interrupt
            ours = [raised for raised in (error, interrupt) if not isinstance(raised, Cancelled)]
            errors = [raised for raised in (*ours, *self._errors) if raised is not None]
            for thread in self._threads:
                take_failure(thread)
            if errors:
                raise BaseExceptionGroup(f"{self.name!r} has failed", errors) from None
            # This block was itself cancelled, and no more happened than that.
            if interrupt is not None:
                raise interrupt
        finally:
            # The exception refers to this frame: it must not keep itself alive.
            del error, kind, traceback, interrupt

    def _wait_for_all(self) -> BaseException | None:
        """Waits until every thread has ended; what interrupted the waiting first, if anything."""
        interrupt: BaseException | None = None
        while True:
            try:
                with self._lock:
                    alive = [thread for thread in self._threads if thread.is_alive()]
                    if not alive:
                        self._state = "closed"
                        for thread in self._threads:
                            # Threads that are kept do not keep the group.
                            thread._mh_on_error = None
                        return interrupt
                wait_for_end(alive[0])
            except BaseException as error:
                if isinstance(interrupt, KeyboardInterrupt) and isinstance(
                    error, KeyboardInterrupt
                ):
                    raise  # Asked a second time to let go.
                interrupt = error if interrupt is None else interrupt
                self.cancel()

    def __repr__(self) -> str:
        threads = list(self._threads)
        n_alive = sum(thread.is_alive() for thread in threads)
        return (
            f"<ThreadGroup {self.name!r}: {self._state}, {n_alive} of {len(threads)} threads alive>"
        )

    def _has_failed(self, error: BaseException) -> None:
        """A thread's body has ended with `error`; called in that thread."""
        with self._lock:
            self._errors.append(error)
        self.cancel()


_BY_ITSELF = (KeyboardInterrupt, SystemExit)
_REFUSED = {
    "new": "start threads inside of its `with` block.",
    "closed": "its block has ended; use a new ThreadGroup.",
}


def _be_cancelled(*_args: object, **_kwargs: object) -> None:
    """What a thread does that is started too late."""
    raise Cancelled


def _name_of(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", None) or type(function).__name__


ThreadGroup.__module__ = "manyhands.threading"
