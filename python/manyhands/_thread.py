"""`Thread`: the standard class, plus what its owner wants to know and do about it.

A thread's outcome is kept in a `_Record` of its own, which the thread object and the running
thread share:

    new ──start()──▶ running ──▶ returned | raised | cancelled

Guarantees:
- `start`, `run`, `is_alive` and the rest behave as in the standard class, for subclasses too.
- An exception of a thread that propagates is never lost: whoever joins gets it; if nobody has by
  the time the thread object goes, or the program ends, `threading.excepthook` does.
- `cancel()` reaches the thread's body and nothing after it.

What it does not do: a body that sits in foreign C code is cancelled when that returns.
"""

import atexit
import os
import threading as _names  # Whatever is installed there now: hooks are looked up when needed.
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from functools import partial
from types import SimpleNamespace, TracebackType
from typing import Any

from ._runtime import Event, Lock, Returning, ThreadEnd, ThreadRun
from ._std_threading import Thread as _StandardThread
from ._std_threading import threading as _standard
from ._task_errors import Cancelled

__all__ = ["PlainThread", "Thread"]

# A thread is started with a stack of its own size by changing the size for all for a moment.
_starting = Lock(name="manyhands thread start")
os.register_at_fork(after_in_child=_starting._at_fork_reinit)


class PlainThread(_StandardThread):
    """The standard `threading.Thread` with `result`, `cancel`, `cpu_time` and `stack_size`.

    What `install()` puts in the place of `threading.Thread`: an exception goes to
    `threading.excepthook` at once, and `join()` returns None. `manyhands.threading.Thread` is the
    same but for that.
    """

    _propagates = False
    # For objects that exist when `install()` makes this class a base of theirs.
    _own_context: Context | None = None
    _stack_size: int | None = None
    _record: "_Record | None" = None
    # The standard class's own.
    _initialized: bool
    _started: Event
    _target: Callable[..., object] | None

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        context: Context | None = None,
        propagate: bool | None = None,
        stack_size: int | None = None,
    ) -> None:
        if stack_size is not None:
            _check_stack_size(stack_size)
        # By name: a class that is derived from the standard one may call this one's.
        _StandardThread.__init__(self, group, target, name, args, kwargs, daemon=daemon)
        if propagate is not None:
            self._propagates = propagate
        self._own_context = context
        self._stack_size = stack_size

    def start(self) -> None:
        """Starts the thread.

        Raises:
            RuntimeError: it was started before, or no thread can be started now.

        >>> from manyhands.threading import Thread
        >>> dish = Thread(target=lambda: "soup")
        >>> dish.start()
        >>> dish.result()
        'soup'
        """
        if not self._initialized or self._started.is_set():
            super().start()  # Raises what the standard class raises.
            return
        record = _Record(self, self._propagates)
        if self._target is not None:
            # The standard `run` drops what the target returns.
            self._target = Returning(self._target, record.keep)
        body: Callable[[], object] = self.run
        if self._own_context is not None:
            body = partial(self._own_context.run, body)
        # What the new thread calls; taken away again before the body runs.
        prepare = partial(_give_run_back, weakref.ref(self))
        run = ThreadRun(record.end, prepare, body, record.finish)
        self.run = run  # type: ignore[method-assign]
        before, self._record = self._record, record
        try:
            self._start_with_stack()
        except BaseException:
            vars(self).pop("run", None)
            self._record = before
            raise

    def _start_with_stack(self) -> None:
        with _starting:
            if self._stack_size is None:
                super().start()
                return
            before = _standard.stack_size(self._stack_size)
            try:
                super().start()
            finally:
                _standard.stack_size(before)

    def join(self, timeout: float | None = None) -> None:
        """Waits until the thread has ended.

        Args:
            timeout: seconds to wait at most; None: without limit. `is_alive()` tells whether it
                has ended.

        Raises:
            RuntimeError: the thread was not started, or is the calling one.
            BaseException: what the thread raised, if it propagates: each time it is joined.
            DeadlockError: it can never end.

        >>> from manyhands.threading import Thread
        >>> burnt = Thread(target=lambda: 1 / 0)
        >>> burnt.start()
        >>> burnt.join()
        Traceback (most recent call last):
        ...
        ZeroDivisionError: division by zero
        """
        if self._wait_for_end(timeout) and self._record is not None and self._record.propagates:
            self._record.raise_error()

    def _wait_for_end(self, timeout: float | None) -> bool:
        """Waits like the standard `join`, and looks out for deadlocks; whether it has ended."""
        record = self._record
        if record is not None and self.is_alive() and self is not _standard.current_thread():
            # What is left to do after this takes the thread no time.
            if not record.end.wait(timeout):
                return False
            timeout = None
        super().join(timeout)
        return not self.is_alive()

    def result(self, timeout: float | None = None) -> Any:
        """What the thread's target, or its own `run`, returned; waits for it.

        Args:
            timeout: seconds to wait at most; None: without limit.

        Raises:
            TimeoutError: it runs on.
            RuntimeError: the thread was not started, or is the calling one.
            concurrent.futures.CancelledError: it was cancelled.
            BaseException: what the thread raised.

        >>> from manyhands.threading import Thread
        >>> sum_of = Thread(target=sum, args=([1, 2, 3],))
        >>> sum_of.start()
        >>> sum_of.result(timeout=60)
        6
        """
        record = self._ended_record(timeout)
        record.raise_error()
        record.check_cancelled()
        return record.value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the thread raised, or None; waits for its end.

        Raises what `result()` raises, except for what the thread raised.
        """
        record = self._ended_record(timeout)
        record.check_cancelled()
        record.take()
        return record.error

    def _ended_record(self, timeout: float | None) -> "_Record":
        if not self._wait_for_end(timeout):
            raise TimeoutError(f"thread {self.name!r} still runs after {timeout} s")
        if self._record is None:
            raise RuntimeError(f"thread {self.name!r} runs without start(): it has no result")
        return self._record

    def cancel(self) -> bool:
        """Asks the thread to end: raises `manyhands.Cancelled` in it.

        It is raised at the thread's next bytecode, or in a wait for one of our primitives. A body
        that sits in C code (`time.sleep`, a system call) ends when that returns. The body may catch
        it to clean up, and should let it go. `join()` returns then; `result()` raises
        CancelledError. What the thread does after its body is never interrupted.

        Returns:
            False if it does not run, or was cancelled before.

        >>> from manyhands.threading import Event, Thread
        >>> waiting = Thread(target=Event().wait)
        >>> waiting.start()
        >>> waiting.cancel()
        True
        >>> waiting.join()
        """
        return self._record is not None and self._record.end.interrupt(Cancelled)

    @property
    def cpu_time(self) -> float:
        """Seconds of processor time the thread has used; 0.0 before it is started."""
        return 0.0 if self._record is None else self._record.end.cpu_time()


class Thread(PlainThread):
    """A thread whose exception reaches whoever joins it.

    Mirrors `threading.Thread <https://docs.python.org/3/library/threading.html#threading.Thread>`_,
    with everything that has. Different: `join()` raises what the thread raised. If nobody joins
    it (or asks for its `result()` or `exception()`), `threading.excepthook` gets the exception
    when the thread object is released, at the latest at the end of the program; the standard
    class calls it at once. With ``propagate=False`` it is as in the standard class.

    Args:
        group: None; reserved.
        target: called with `args` and `kwargs` by `run()`.
        name: "Thread-N" if None.
        args: positional arguments of `target`.
        kwargs: keyword arguments of `target`.
        daemon: whether the program may end before the thread does; None: as the current thread.
        context: the `contextvars.Context` to run in (Python 3.14's argument, on all versions).
        propagate: whether `join()` raises what the thread raised; None: yes.
        stack_size: bytes of stack, at least 32 KiB; None: as `threading.stack_size()` says.

    Raises:
        ValueError: `stack_size` is too small, or not what the system allows.

    >>> from manyhands.threading import Thread
    >>> cook = Thread(target=print, args=("soup",), name="cook", stack_size=256 * 1024)
    >>> cook.start(); cook.join()
    soup
    """

    _propagates = True


class _Record:
    """How one run of a thread ended, and whether somebody knows.

    Referred to by the thread object, not the other way round: when it goes, the thread has gone.
    """

    def __init__(self, thread: PlainThread, propagates: bool) -> None:
        self.end = ThreadEnd(thread.name)
        self.propagates = propagates
        self.value: object = None
        self.error: BaseException | None = None
        self.traceback: TracebackType | None = None
        self.is_cancelled = False
        self.is_taken = False
        self.thread = weakref.ref(thread)
        self.name = thread.name

    def keep(self, value: object) -> None:
        """The thread's target returned this."""
        self.value = value

    def finish(self, value: object, error: BaseException | None) -> bool:
        """The thread's body has ended; whether the thread itself is to raise the error."""
        if error is None:
            if value is not None:
                self.value = value  # A `run` of the program's own returned it.
        elif isinstance(error, Cancelled):
            self.is_cancelled = True
        elif not isinstance(error, SystemExit):  # Which ends a thread quietly.
            self.error, self.traceback = error, error.__traceback__
            if not self.propagates:
                self.is_taken = True
                return True
            self.traceback = error.__traceback__ = _without_frames_above(error)
            _untaken.add(self)
        return False

    def raise_error(self) -> None:
        """Raises what the thread raised, if it did: it is somebody's now."""
        self.take()
        if self.error is not None:
            try:
                # Each joiner sees the thread's own traceback, not that of the joiners before.
                raise self.error.with_traceback(self.traceback)
            finally:
                # The traceback, which refers to this frame, must not keep the record.
                del self

    def check_cancelled(self) -> None:
        """Raises CancelledError if the thread was cancelled."""
        if self.is_cancelled:
            from concurrent.futures import CancelledError

            raise CancelledError(f"thread {self.name!r} was cancelled")

    def take(self) -> None:
        """Somebody knows how it ended."""
        self.is_taken = True
        _untaken.discard(self)

    def report(self) -> None:
        """Gives an exception that nobody took to the hook that shows such."""
        if self.is_taken or self.error is None:
            return
        self.take()
        thread = self.thread() or SimpleNamespace(name=self.name, ident=None, native_id=None)
        error = self.error
        details = (type(error), error, error.__traceback__, thread)
        _names.excepthook(_standard.ExceptHookArgs(details))

    def __del__(self) -> None:
        self.report()


# Propagating errors that nobody has taken: for the end of the program.
_untaken: "weakref.WeakSet[_Record]" = weakref.WeakSet()


@atexit.register
def _report_untaken() -> None:
    for record in list(_untaken):
        record.report()


def _give_run_back(of_thread: "weakref.ref[PlainThread]") -> None:
    """The thread has begun: its `run` is the program's own again."""
    thread = of_thread()
    if thread is not None:
        vars(thread).pop("run", None)


def _without_frames_above(error: BaseException) -> TracebackType | None:
    """The traceback from the program's own first frame on."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == _standard.__file__:
        traceback = traceback.tb_next
    return traceback


def _check_stack_size(stack_size: int) -> None:
    """Raises ValueError for a size that no thread can be started with."""
    with _starting:
        _standard.stack_size(_standard.stack_size(stack_size))


# Under install() this is `threading.Thread`, and code asks where it is from.
PlainThread.__module__ = "threading"
PlainThread.__qualname__ = PlainThread.__name__ = "Thread"
Thread.__module__ = "manyhands.threading"
