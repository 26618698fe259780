"""What an ``imap`` reads: items become tasks while results are taken.

Guarantees: at most `WINDOW` tasks are on their way, so inputs may be infinite; a list, tuple,
range… is read by the thread that takes the results, anything else by a thread of its own, so that
a slow input delays no result.

An input is *open* until its last task is submitted, it raised, or it was stopped; then it has
*ended*. Closing the pool ends no input; joining it reads what is left without a bound.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pool import Pool

__all__ = ["CONTAINERS", "WINDOW", "Input", "InputError", "guarded"]

#: How many tasks of one ``imap`` are on their way at the most.
WINDOW = 65_536

#: Reading one of these takes no time worth a thread.
CONTAINERS = (list, tuple, range, dict, set, frozenset, str, bytes, bytearray, deque)


class Input:
    """What one ``imap`` reads, and how far it is."""

    def __init__(
        self,
        pool: Pool,
        submit: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int,
        place: Callable[[Any], None],
    ) -> None:
        self._pool: Pool | None = pool
        self._submit = submit
        self._place = place
        self.changed = threading.Condition()
        self.error: BaseException | None = None
        self.has_ended = False
        self._is_bounded = True
        self._is_stopped = False
        self._n_submitted = 0
        self._n_taken = 0
        self._thread: threading.Thread | None = None
        self._items: Iterator[Any] = iter(guarded(iterable, chunksize))
        pool._input_has_begun(self)
        if type(iterable) in CONTAINERS:
            self._read()
        else:
            self._thread = threading.Thread(
                target=self._read_in_thread, name="manyhands-imap", daemon=True
            )
            self._thread.start()

    def note_taken(self) -> None:
        """A result has been handed out: there is room for another task."""
        self._n_taken += 1
        if self.has_ended:
            return
        if self._thread is None:
            self._read()
        else:
            with self.changed:
                self.changed.notify_all()

    def read_all(self) -> None:
        """Submit what is left, however much it is: the pool is being closed."""
        with self.changed:
            self._is_bounded = False
            self.changed.notify_all()
        if self._thread is None:
            self._read()

    def stop(self) -> None:
        """Read no more."""
        with self.changed:
            self._is_stopped = True
            self.changed.notify_all()
        if self._thread is None:
            self._end(None)

    def join(self) -> None:
        """Wait until the input has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _has_room(self) -> bool:
        return not self._is_bounded or self._n_submitted - self._n_taken < WINDOW

    def _read(self) -> None:
        """Submit while there is room."""
        while not self.has_ended and not self._is_stopped and self._has_room():
            self._read_one()

    def _read_in_thread(self) -> None:
        while not self.has_ended:
            with self.changed:
                self.changed.wait_for(lambda: self._is_stopped or self._has_room())
            if self._is_stopped:
                self._end(None)
            else:
                self._read_one()

    def _read_one(self) -> None:
        try:
            item = next(self._items)
        except StopIteration:
            self._end(None)
            return
        except InputError as error:
            self._end(error.__cause__)
            return
        try:
            future = self._submit(item)
        except Exception as error:
            # The pool was terminated meanwhile, or is broken.
            self._end(error)
            return
        self._n_submitted += 1
        self._place(future)
        if self._thread is not None:
            with self.changed:
                self.changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        with self.changed:
            self.error = error
            self.has_ended = True
            self._items = iter(())
            self.changed.notify_all()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool._input_has_ended(self)


class InputError(Exception):
    """The input has raised; the cause says what."""


def guarded(iterable: Iterable[Any], chunksize: int) -> Iterator[Any]:
    """The items, or tuples of `chunksize` items, of what may raise.

    Raises:
        InputError: from what the iterable raised. As in the standard, a chunk that was not
            complete then is not given out.
    """
    try:
        if chunksize == 1:
            yield from iterable
        else:
            items = iter(iterable)
            while chunk := tuple(itertools.islice(items, chunksize)):
                yield chunk
    except Exception as error:
        raise InputError from error
