"""A started process as its parent sees it: what all start methods have in common.

Guarantees: any number of threads may ask for the end and for what was returned; all learn the
same, and nobody waits for what has been taken already. In a copy of the parent made by a fork the
processes are somebody else's: they count as running, as in the standard module.

Does not do: start processes, or learn how they end: `launching` and `forking` do.
"""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import util as _util_module
from types import TracebackType
from typing import Any

from manyhands._mp.launch_record import RETURNED, LastWords, LaunchRecord
from manyhands._queues.process_queue import SimpleQueue

_util: Any = _util_module


class Popen:
    """Attributes and methods as the standard class of this name has them."""

    method: str
    pid: int
    #: A descriptor that is readable once the process has ended; -1 before there is one.
    sentinel: int

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.sentinel = -1
        self.finalizer: Any = None
        self._owner_pid = os.getpid()
        self._words: LastWords | None = None
        self._words_are_read = False
        # Reentrant: a signal handler, or what is being unpickled, may ask as well.
        self._value_lock = threading.RLock()
        self._value_is_taken = False
        self._value: Any = None
        self._value_error: BaseException | None = None
        self._value_trace: TracebackType | None = None
        _util._flush_std_streams()
        self._record = LaunchRecord.new()
        self._carrier = SimpleQueue()

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """The exit code; None while the process runs."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code, waited for; None if the process still runs after `timeout` seconds."""
        raise NotImplementedError

    def value(self) -> Any:
        """What `run` returned: the same object at every call. The process must have ended.

        Raises:
            Exception: it could not be unpickled: the same error at every call.
        """
        with self._value_lock:
            if not self._value_is_taken:
                # There is no second time: the carrier's only item is used up, whatever happens.
                self._value_is_taken = True
                words = self.last_words()
                if words is not None and words.kind == RETURNED:
                    self._take_value()
            if self._value_error is not None:
                raise self._value_error.with_traceback(self._value_trace)
            return self._value

    def _take_value(self) -> None:
        # What is seen by a signal handler, or by `__setstate__`, that asks half-way; it stays if
        # a Ctrl-C ends the unpickling.
        self._value_error = RuntimeError(
            "what the process returned was not unpickled to its end: do not interrupt the first "
            "call of result(), nor call it from what is being unpickled"
        )
        try:
            # Without waiting: it was put before the process ended.
            self._value = self._carrier.get_nowait()
        except Exception as error:
            self._value_error = error
            # Without this frame: where the unpickling failed, and no longer at each call.
            self._value_trace = error.__traceback__ and error.__traceback__.tb_next
        else:
            self._value_error = None

    def last_words(self) -> LastWords | None:
        """What the process left behind; None if it was killed. The process must have ended."""
        if not self._words_are_read:
            self._words = self._record.read_end()
            self._words_are_read = True
        return self._words

    def describe_end(self) -> str:
        """How it ended, for people."""
        raise NotImplementedError

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def interrupt(self) -> None:
        """Sends SIGINT, as in Python 3.14."""
        self.send_signal(signal.SIGINT)

    def send_signal(self, number: int) -> None:
        """Sends a signal; never hits another process that got the same id."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives the descriptors up."""
        if self.finalizer is not None:
            self.last_words()
            self.finalizer()

    def _own_descriptors(self) -> None:
        """Last thing of a start: from now on the descriptors go with this object."""
        self.finalizer = _util.Finalize(self, _close, (self.sentinel, self._record))

    def _drop_descriptors(self) -> None:
        """After a start that failed."""
        if self.finalizer is None:
            self._own_descriptors()
        self.finalizer()

    def _is_owner(self) -> bool:
        return self._owner_pid == os.getpid()


def _close(sentinel: int, record: LaunchRecord) -> None:
    if sentinel >= 0:
        os.close(sentinel)
    record.close()
