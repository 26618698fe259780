"""What an ``imap`` reads: items become tasks while results are taken.

Guarantees: at most `WINDOW` tasks are on their way, so inputs may be infinite; a list, tuple,
range… is read by the thread that takes the results, anything else by a thread of its own, so that
a slow input delays no result. One thread at a time reads; who comes meanwhile leaves it the work
and goes on, so no destructor ever waits here.

An input is *open* until its last task is submitted, it raised, or it was stopped; then it has
*ended*. Closing the pool ends no input; joining it reads what is left without a bound.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manyhands._mp.pools.pool import Pool

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
        #: Which thread reads a container at the moment, and whether it is to look once more.
        self._reader: int | None = None
        self._is_wanted = False
        self._n_submitted = 0
        #: Results that were handed out.
        self.n_taken = 0
        self._thread: threading.Thread | None = None
        is_quick = type(iterable) in CONTAINERS
        plain = is_quick and chunksize == 1
        self._items: Iterator[Any] = iter(iterable if plain else guarded(iterable, chunksize))
        pool._input_has_begun(self)
        if is_quick:
            self._read()
        else:
            self._thread = threading.Thread(
                target=self._read_in_thread, name="manyhands-imap", daemon=True
            )
            self._thread.start()

    def read_more(self) -> None:
        """There is room for another task."""
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
        """Wait until the input has ended, or nobody reads it."""
        me = threading.get_ident()
        if self._thread is None:
            with self.changed:
                self.changed.wait_for(lambda: self.has_ended or self._reader in (None, me))
        elif self._thread.ident != me:
            self._thread.join()

    def _room(self) -> int | None:
        """How many more tasks may be on their way; None: any number."""
        return max(0, WINDOW + self.n_taken - self._n_submitted) if self._is_bounded else None

    def _read(self) -> None:
        """Submit while there is room, or have the thread do it that is reading."""
        with self.changed:
            self._is_wanted = True
            if self._reader is not None:
                return
            self._reader = threading.get_ident()
        try:
            while self._is_to_read():
                room = self._room()
                if room != 0:
                    self._submit_items(room)
        except BaseException:
            self._read_no_more()
            raise

    def _read_no_more(self) -> None:
        """From here on others read for themselves."""
        with self.changed:
            self._reader = None
            self.changed.notify_all()

    def _is_to_read(self) -> bool:
        with self.changed:
            is_wanted, self._is_wanted = self._is_wanted, False
            is_wanted = is_wanted and not self.has_ended and not self._is_stopped
            if not is_wanted:
                self._read_no_more()
            return is_wanted

    def _read_in_thread(self) -> None:
        while not self.has_ended:
            with self.changed:
                self.changed.wait_for(lambda: self._is_stopped or self._room() != 0)
            if self._is_stopped:
                self._end(None)
            else:
                self._submit_items(1)
                with self.changed:
                    self.changed.notify_all()

    def _submit_items(self, n_items: int | None) -> None:
        n_before = self._n_submitted
        try:
            for item in itertools.islice(self._items, n_items):
                self._place(self._submit(item))
                self._n_submitted += 1
        except InputError as error:
            self._end(error.__cause__)
        except Exception as error:
            # The pool was terminated meanwhile, which stops the input first; or it is broken.
            self._end(None if self._is_stopped else error)
        else:
            if n_items is None or self._n_submitted - n_before < n_items:
                self._end(None)

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
            chunksize = min(chunksize, sys.maxsize)  # Nothing is longer.
            while chunk := tuple(itertools.islice(items, chunksize)):
                yield chunk
    except Exception as error:
        raise InputError from error
