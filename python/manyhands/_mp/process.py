"""The class of processes: the standard one's interface over our ways to start them.

A subclass may override `run`, and may call its own attributes as it likes: also ``result``,
``exception``, ``cpu_time`` and ``memory_info``, which the standard class does not have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from multiprocessing import process as _standard_process
from typing import Any, TypeVar, overload

from manyhands._worker import launchers

_standard: Any = _standard_process

_T = TypeVar("_T")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class _Readable:
    """A property that an attribute of the same name hides: programs have such attributes."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self.read = read
        self.__doc__ = read.__doc__

    @overload
    def __get__(self, process: None, owner: Any) -> _Readable: ...
    @overload
    def __get__(self, process: object, owner: Any) -> Any: ...
    def __get__(self, process: Any, owner: Any) -> Any:
        return self if process is None else self.read(process)


class BaseProcess(_standard.BaseProcess):  # type: ignore[misc]
    """A child process.

    Args:
        group: must be None.
        target: what `run` calls; None: nothing.
        name: of the process; None: numbered by its class.
        args: arguments of `target`.
        kwargs: keyword arguments of `target`.
        daemon: end it when this process ends, instead of waiting for it; None: as this process.
        orphan_ok: let it live on when this process is killed.

    Mirrors https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Process.
    Differences: `result` and `exception` say what `run` returned or raised; a process ends with a
    parent that is killed, unless ``orphan_ok``; a daemon may have children; lambdas, closures and
    everything of ``__main__`` may be sent, and ``__main__`` is not imported again.
    """

    _method = "template"
    # What the standard `_bootstrap` would make the child's start method: ours is set before.
    _start_method = None
    _may_be_orphan = False
    _popen: Any

    def __init__(
        self,
        group: None = None,
        target: Callable[..., Any] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        orphan_ok: bool = False,
    ) -> None:
        super().__init__(group, target, name, args, {} if kwargs is None else kwargs, daemon=daemon)
        if orphan_ok:
            self._may_be_orphan = True

    @classmethod
    def _Popen(cls, process_obj: Any) -> Any:
        method = cls._method
        if method == "fork" or (method != "spawn" and launchers.why_no_interpreter()):
            from .forking import ForkedPopen

            return ForkedPopen(process_obj)
        from .launching import LaunchedPopen

        return LaunchedPopen(process_obj, method)

    def run(self) -> Any:
        """What the process does; returns what `target` does."""
        if self._target:
            return self._target(*self._args, **self._kwargs)
        return None

    def start(self) -> None:
        """Starts the process.

        Raises:
            AssertionError: it was started before, or made by another process.
            OSError: there is no room for another process.
            pickle.PicklingError: something it needs cannot be sent; the message says what.
        """
        self._check_closed()
        if self._popen is not None:
            raise AssertionError("cannot start a process twice")
        if self._parent_pid != os.getpid():
            raise AssertionError("can only start a process object created by current process")
        if getattr(_standard.current_process(), "_inheriting", False):
            _refuse_start()
        _standard._cleanup()
        self._popen = self._Popen(self)
        self._sentinel = self._popen.sentinel
        # What they hold is the child's now.
        del self._target, self._args, self._kwargs
        _standard._children.add(self)

    def interrupt(self) -> None:
        """Sends SIGINT, which raises KeyboardInterrupt in the process. As in Python 3.14."""
        self._check_started("interrupt")
        self._popen.interrupt()

    def terminate(self) -> None:
        """Sends SIGTERM.

        Raises:
            AssertionError: it was not started.
            ValueError: it was closed.
        """
        self._check_started("terminate")
        self._popen.terminate()

    def kill(self) -> None:
        """Sends SIGKILL; raises as `terminate`."""
        self._check_started("kill")
        self._popen.kill()

    def result(self, timeout: float | None = None) -> Any:
        """What `run` returned, waited for.

        Args:
            timeout: seconds to wait; None: until the process ends.

        Returns:
            The same object at every call.

        Raises:
            TimeoutError: the process still runs.
            Exception: what `run` raised; its ``__cause__`` is the traceback in the process. Or why
                what it returned cannot be unpickled here: the same error at every call.
            manyhands.WorkerCrashed: the process ended before `run` did: the message says how.
            ValueError: the process was closed.
            AssertionError: it was not started, or not by this process.
        """
        self._join(timeout)
        exitcode = self._popen.poll()
        if exitcode is None:
            raise TimeoutError(f"the process {self._name!r} still runs after {timeout} s")
        error = _error(self)
        if error is not None:
            raise error
        return self._popen.value()

    @_Readable
    def exception(self) -> BaseException | None:
        """What `run` raised, or a `manyhands.WorkerCrashed` if the process died; else None.

        None also while it runs, and after ``sys.exit()`` with status 0.
        """
        self._check_closed()
        if self._popen is None or self._popen.poll() is None:
            return None
        return _error(self)

    @_Readable
    def cpu_time(self) -> float:
        """Seconds of processor time the process has used; nan if it was killed: nobody knows."""
        self._check_closed()
        if self is _standard.current_process():
            return sum(os.times()[:2])
        if self._popen is None:
            return 0.0
        if self._popen.poll() is None:
            try:
                with open(f"/proc/{self._popen.pid}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
            except OSError:
                self._popen.wait()  # It has just ended.
        words = self._popen.last_words()
        return float("nan") if words is None else float(words.cpu_time)

    def memory_info(self) -> dict[str, int]:
        """Memory of the process in bytes: ``rss`` now (0 once it has ended), ``peak`` ever.

        The peak of a process that was killed is unknown: 0.
        """
        self._check_closed()
        is_current = self is _standard.current_process()
        if not is_current and (self._popen is None or self._popen.poll() is not None):
            words = self._popen.last_words() if self._popen else None
            return {"rss": 0, "peak": words.peak_memory if words else 0}
        pid = os.getpid() if is_current else self._popen.pid
        found = {"rss": 0, "peak": 0}
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                for line in file:
                    name, _, rest = line.partition(":")
                    if name in ("VmRSS", "VmHWM"):
                        found["rss" if name == "VmRSS" else "peak"] = int(rest.split()[0]) * 1024
        except OSError:
            pass  # It has just ended.
        return found

    def _check_started(self, what: str) -> None:
        self._check_closed()
        if self._popen is None:
            raise AssertionError(f"can only {what} a started process: call start() first")

    def _join(self, timeout: float | None) -> None:
        # Not `join`, which a subclass may have changed.
        _standard.BaseProcess.join(self, timeout)


def _error(process: Any) -> BaseException | None:
    """What a process that has ended raised, or how it died."""
    from . import recording

    popen = process._popen
    exitcode = popen.poll()
    words = popen.last_words()
    raised = recording.error_of(words)
    if isinstance(raised, Exception):
        return raised
    if raised is None and words is not None and words.kind != 0 and exitcode == 0:
        return None
    if isinstance(raised, SystemExit) and exitcode == 0:
        return None
    from manyhands._errors.pools import WorkerCrashed

    crash = WorkerCrashed(
        f"the process {process._name!r} (pid {popen.pid}) {popen.describe_end()}"
        + (f" by {type(raised).__name__}" if raised is not None else "")
        + " before its run() returned",
        pid=popen.pid,
        signal=-exitcode if exitcode < 0 else None,
        exitcode=exitcode if exitcode >= 0 else None,
    )
    crash.__cause__ = raised
    return crash


def _refuse_start() -> None:
    """A script without a guard is being imported by a child."""
    from multiprocessing import spawn

    check: Any = spawn
    check._check_not_importing_main()
