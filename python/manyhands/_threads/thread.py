"""`Thread`: the standard class, plus what its owner wants to know and do about it.

A thread's outcome is kept in a `_Record` of its own, which the thread object and the running
thread share:

    new ──start()──▶ running ──▶ returned | raised | cancelled

Guarantees:
- `start`, `run`, `is_alive` and the rest behave as in the standard class, for subclasses too. What
  is added can be hidden by a subclass's own methods and attributes of the same names.
- An exception of a thread that propagates is never lost: whoever joins gets it; if nobody has by
  the time the thread object goes, or the program ends, `threading.excepthook` does.
- `cancel()` reaches the thread's body and nothing after it; a body that has not begun never does.

What it does not do: a body that sits in foreign C code is cancelled when that returns.
"""

import atexit
import os
import threading as _names  # Whatever is installed there now: hooks are looked up when needed.
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import Any

from manyhands._drop_in.std_threading import Thread as _StandardThread
from manyhands._drop_in.std_threading import threading as _standard
from manyhands._errors.tasks import Cancelled
from manyhands._runtime import Event, Returning, ThreadEnd, ThreadRun
from manyhands._threads import thread_stack

__all__ = ["PlainThread", "Thread", "cancel", "take_failure", "wait_for_end"]

# Between the thread's start and its own first step nobody is told if it dies.
_UNTIL_IT_BEGINS_S = 0.05


class _CpuTime:
    """Thread.cpu_time. Not a property: a program's own attribute of that name hides it."""

    def __get__(self, thread: "PlainThread | None", owner: type) -> Any:
        """Seconds of processor time the thread has used, so far or in all; 0.0 before it starts."""
        if thread is None:
            return self
        record = thread._mh_record
        return 0.0 if record is None else record.end.cpu_time()


class PlainThread(_StandardThread):
    """The standard `threading.Thread` with `result`, `cancel`, `cpu_time` and `stack_size`.

    What `install()` puts in the place of `threading.Thread`: an exception goes to
    `threading.excepthook` at once, and `join()` returns None. `manyhands.threading.Thread` is the
    same but for that.
    """

    # For objects that exist when `install()` makes this class a base of theirs.
    _mh_propagates = False
    _mh_context: Context | None = None
    _mh_stack_size: int | None = None
    _mh_record: "_Record | None" = None
    # Called in the thread, after its body, with what the body raised if that propagates.
    _mh_on_error: Callable[[BaseException], None] | None = None

    # The standard class's own.
    _initialized: bool
    _started: Event
    _target: Callable[..., object] | None

    #: Seconds of processor time the thread has used, so far or in all; 0.0 before it is started.
    cpu_time = _CpuTime()

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
            thread_stack.check(stack_size)
        # By name: a class that is derived from the standard one may call this one's.
        _StandardThread.__init__(self, group, target, name, args, kwargs, daemon=daemon)
        if propagate is not None:
            self._mh_propagates = propagate
        self._mh_context = context
        self._mh_stack_size = stack_size

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
        if not isinstance(self, PlainThread):
            # A class that could not be derived from this one, calling it by name.
            _StandardThread.start(self)  # type: ignore[unreachable]
            return
        if not self._initialized or self._started.is_set():
            _StandardThread.start(self)  # Raises what the standard class raises.
            return
        record = _Record(self)
        target = self._target
        if target is not None:
            # The standard `run` drops what the target returns.
            self._target = Returning(target, record.keep)
        body: Callable[[], object] = self.run
        if self._mh_context is not None:
            body = partial(self._mh_context.run, body)
        # What the new thread calls; taken away again before the body runs.
        namespace, own_run = vars(self), vars(self).get("run")
        give_back = partial(_give_run_back, namespace, own_run)
        namespace["run"] = ThreadRun(record.end, give_back, body, record.finish)
        before, self._mh_record = self._mh_record, record
        try:
            thread_stack.start(partial(_StandardThread.start, self), self._mh_stack_size)
        except Exception:
            if self.ident is None:
                give_back()
                self._target, self._mh_record = target, before
            # Else a signal handler raised, and the thread runs all the same.
            raise

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
        if not isinstance(self, PlainThread):
            _StandardThread.join(self, timeout)  # type: ignore[unreachable]
            return
        record = self._mh_record
        if wait_for_end(self, timeout) and record is not None and record.propagates:
            record.raise_error()

    def result(self, timeout: float | None = None) -> Any:
        """What the thread's target, or its own `run`, returned; waits for it.

        Args:
            timeout: seconds to wait at most; None: without limit.

        Raises:
            TimeoutError: it runs on.
            RuntimeError: the thread was not started, or is the calling one, or its outcome is
                not known in this process.
            concurrent.futures.CancelledError: it was cancelled.
            BaseException: what the thread raised. SystemExit ends a thread like a return.

        >>> from manyhands.threading import Thread
        >>> sum_of = Thread(target=sum, args=([1, 2, 3],))
        >>> sum_of.start()
        >>> sum_of.result(timeout=60)
        6
        """
        record = _ended_record(self, timeout)
        record.raise_error()
        return record.value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the thread raised, or None; waits for its end.

        Raises what `result()` raises, except for what the thread raised.
        """
        record = _ended_record(self, timeout)
        record.take()
        return record.error

    def cancel(self) -> bool:
        """Asks the thread to end: raises `manyhands.Cancelled` in it.

        It is raised at the thread's next bytecode, or in a wait for one of our primitives. A body
        that sits in C code (`time.sleep`, a system call) ends when that returns. The body may catch
        it to clean up, and should let it go. `join()` returns then; `result()` raises
        CancelledError. What the thread does after its body is never interrupted. A thread that was
        just started does not begin its body.

        Returns:
            False if the thread was not started, or its body has ended.

        >>> from manyhands.threading import Event, Thread
        >>> waiting = Thread(target=Event().wait)
        >>> waiting.start()
        >>> waiting.cancel()
        True
        >>> waiting.join()
        """
        return cancel(self)


class Thread(PlainThread):
    """A thread whose exception reaches whoever joins it.

    Mirrors `threading.Thread <https://docs.python.org/3/library/threading.html#threading.Thread>`_,
    with everything that has. Different: `join()` raises what the thread raised. If nobody joins
    it (or asks for its `result()` or `exception()`), `threading.excepthook` gets the exception
    when the thread object is collected, at the latest at the end of the program; the standard
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

    _mh_propagates = True


def wait_for_end(thread: PlainThread, timeout: float | None = None) -> bool:
    """Waits like the standard `join`, and looks out for deadlocks; whether it has ended."""
    deadline = None if timeout is None else time.monotonic() + timeout
    record = thread._mh_record
    if record is not None and _is_alive(thread) and thread is not _standard.current_thread():
        # In slices, as the thread may die before it can tell.
        while not record.end.has_begun() and _is_alive(thread):
            left = _left(deadline)
            if left is not None and left <= 0:
                return False
            if record.end.wait(_UNTIL_IT_BEGINS_S if left is None else min(left, 0.05)):
                break
        if record.end.has_begun() and not record.end.wait(_left(deadline)):
            return False
    # Returns at once, unless the thread never began.
    _StandardThread.join(thread, _left(deadline))
    return not _is_alive(thread)


def take_failure(thread: PlainThread) -> None:
    """Whatever the thread raised: the caller sees to it."""
    if thread._mh_record is not None:
        thread._mh_record.take()


def cancel(thread: PlainThread) -> bool:
    """Does what `Thread.cancel` does, also for a class that has another method of that name."""
    record = thread._mh_record
    return record is not None and record.end.interrupt(Cancelled)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def _is_alive(thread: PlainThread) -> bool:
    return _StandardThread.is_alive(thread)


def _ended_record(thread: PlainThread, timeout: float | None) -> "_Record":
    if not wait_for_end(thread, timeout):
        raise TimeoutError(
            f"thread {thread.name!r} still runs after {timeout} s: wait longer, or cancel() it"
        )
    record = thread._mh_record
    if record is None:
        raise RuntimeError(
            f"the outcome of thread {thread.name!r} is not known: it was started before "
            "manyhands.install(), or not by start()"
        )
    if record.is_cancelled:
        from concurrent.futures import CancelledError

        raise CancelledError(f"thread {thread.name!r} was cancelled")
    if not record.is_complete:
        raise RuntimeError(
            f"thread {thread.name!r} ended without an outcome: this process was forked while it "
            "ran, or a trace function ended it"
        )
    return record


class _Record:
    """How one run of a thread ended, and whether somebody knows."""

    def __init__(self, thread: PlainThread) -> None:
        self.end = ThreadEnd(thread.name)
        self.propagates = thread._mh_propagates
        self.value: object = None
        self.error: BaseException | None = None
        self.traceback: TracebackType | None = None
        self.is_complete = False
        self.is_cancelled = False
        self.is_taken = True
        self.of_thread = weakref.ref(thread)
        #: Only with an error that nobody has taken, for the hook.
        self.thread: PlainThread | None = None

    def keep(self, value: object) -> None:
        """The thread's target returned this."""
        self.value = value

    def finish(self, value: object, error: BaseException | None) -> bool:
        """The thread's body has ended; whether the thread itself is to raise the error."""
        self.is_complete = True
        if error is None:
            if value is not None:
                self.value = value  # A `run` of the program's own returned it.
            return False
        self.value = None
        if isinstance(error, Cancelled):
            self.is_cancelled = True
            return False
        if isinstance(error, SystemExit):
            # Ends a thread quietly; a program's own hook is told as it is by the standard class.
            return not self.propagates
        self.error, self.traceback = error, error.__traceback__
        if not self.propagates:
            return True
        self.traceback = error.__traceback__ = _without_frames_above(error)
        self.thread = thread = self.of_thread()
        self.is_taken = False
        _untaken.add(self)
        if thread is not None and thread._mh_on_error is not None:
            thread._mh_on_error(error)
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

    def take(self) -> None:
        """Somebody knows how it ended."""
        self.is_taken = True
        self.thread = None
        _untaken.discard(self)

    def report(self) -> None:
        """Gives an exception that nobody took to the hook that shows such."""
        error, thread = self.error, self.thread
        if self.is_taken or error is None:
            return
        self.take()
        _names.excepthook(
            _standard.ExceptHookArgs((type(error), error, error.__traceback__, thread))
        )

    def __del__(self) -> None:
        self.report()


# Propagating errors that nobody has taken: for the end of the program.
_untaken: "weakref.WeakSet[_Record]" = weakref.WeakSet()


@atexit.register
def _report_untaken() -> None:
    for record in list(_untaken):
        record.report()


def _leave_to_parent() -> None:
    """In a forked child: what threads of the parent raised is shown there."""
    for record in list(_untaken):
        record.take()


os.register_at_fork(after_in_child=_leave_to_parent)


def _give_run_back(namespace: dict[str, object], own_run: object) -> None:
    """The thread has begun: its `run` is the program's own again."""
    namespace.pop("run", None)
    if own_run is not None:
        namespace["run"] = own_run


def _without_frames_above(error: BaseException) -> TracebackType | None:
    """The traceback from the program's own first frame on."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == _standard.__file__:
        traceback = traceback.tb_next
    return traceback


# Under install() this is `threading.Thread`, and code asks where it is from.
PlainThread.__module__ = "threading"
PlainThread.__qualname__ = PlainThread.__name__ = "Thread"
Thread.__module__ = "manyhands.threading"
