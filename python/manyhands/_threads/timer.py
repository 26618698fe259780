"""`Timer`: a thread that calls a function later, unless it is cancelled before.

Guarantees: as the standard class; a repr that tells what will be called when. What it does not do:
`cancel()` does not stop a function that runs already.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from manyhands._runtime import Event
from manyhands._threads.thread import PlainThread

__all__ = ["Timer"]


class Timer(PlainThread):
    """Calls a function after some time.

    Mirrors `threading.Timer <https://docs.python.org/3/library/threading.html#timer-objects>`_. An
    exception of the function goes to `threading.excepthook` at once, as nobody is expected to join
    a timer.

    Args:
        interval: seconds to wait.
        function: called with `args` and `kwargs`, unless `cancel()` comes first.
        args: positional arguments; None: none.
        kwargs: keyword arguments; None: none.

    >>> from manyhands.threading import Timer
    >>> egg = Timer(0.01, print, ["ready"])
    >>> egg.start(); egg.join()
    ready
    >>> burnt = Timer(3600, print, ["burnt"])
    >>> burnt.start(); burnt.cancel(); burnt.join()
    """

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        # By name: a subclass of the standard class may call this with itself.
        PlainThread.__init__(self)
        self.interval = interval
        self.function = function
        self.args = [] if args is None else args
        self.kwargs = {} if kwargs is None else kwargs
        self.finished = Event(name="timer")

    def cancel(self) -> None:  # type: ignore[override]
        """Stops the timer if it still waits; a function that runs already goes on."""
        self.finished.set()

    def run(self) -> None:
        """Waits, and calls the function if nobody cancelled meanwhile."""
        if not self.finished.wait(self.interval):
            self.function(*self.args, **self.kwargs)
        self.finished.set()

    def __repr__(self) -> str:
        function = getattr(self.function, "__qualname__", self.function)
        state = ", cancelled or over" if self.finished.is_set() else ""
        return f"{super().__repr__()[:-1]} calls {function} after {self.interval} s{state}>"


# Under install() this is `threading.Timer`.
Timer.__module__ = "threading"
