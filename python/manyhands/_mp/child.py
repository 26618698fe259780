"""A child process, from its launch to its end.

join the family → be like the parent → unpickle the process object → run it → finish.

Guarantees: the process ends when its parent does, unless it may be an orphan; it ends with
``os._exit`` after what Python does at exit; the parent learns what `run` returned or raised.
"""

from __future__ import annotations

import atexit
import os
import traceback
from multiprocessing import context as _standard_context_module
from multiprocessing import process as _process_module
from multiprocessing import util as _util_module
from typing import Any, NoReturn

from manyhands import _runtime
from manyhands._mp import context
from manyhands._mp.launch_record import LaunchRecord
from manyhands._pickling import codec
from manyhands._worker import parent_state
from manyhands._worker.setups import ProcessSetup

from . import main_module, sent_fds
from .recording import Recorder

_process: Any = _process_module
_standard_context: Any = _standard_context_module
_util: Any = _util_module


def run(launch: _runtime.Launch) -> NoReturn:
    """Be the process that was launched; ends it."""
    exitcode = 1
    recorder = None
    try:
        parent, record_fd, out, err, *fds = _runtime.become_child(launch)
        record = LaunchRecord(record_fd)
        recorder = Recorder(record)
        _take_over_output(out, err)
        setup, handles = record.read_setup()
        references = _runtime.References.take_over(handles)
        try:
            process, recorder.carrier = _unpickle(setup, fds)
        finally:
            references.release()  # What was unpickled has references of its own.
        exitcode = _bootstrap(process, parent, recorder)
    except BaseException:
        traceback.print_exc()
    finally:
        _end(exitcode, recorder)


def run_forked(
    process: Any,
    parent: _runtime.ProcessHandle,
    record: LaunchRecord,
    carrier: Any,
    may_be_orphan: bool,
) -> NoReturn:
    """Be the process that was forked from its parent with all its memory; ends it."""
    exitcode = 1
    recorder = Recorder(record, carrier)
    try:
        atexit._clear()
        atexit.register(_util._exit_function)
        context._force_start_method("fork")
        if not may_be_orphan:
            _runtime.end_with_parent(parent)
        exitcode = _bootstrap(process, _runtime.parent_sentinel(parent), recorder)
    except BaseException:
        traceback.print_exc()
    finally:
        _end(exitcode, recorder)


def _bootstrap(process: Any, parent: int, recorder: Recorder) -> int:
    process.run = recorder.wrap(_with_parent(process.run, process, parent))
    return int(process._bootstrap(parent_sentinel=parent))


def _with_parent(run: Any, process: Any, sentinel: int) -> Any:
    """`run`, with a `parent_process()` that may be looked at in time when it has ended."""

    def with_parent() -> Any:
        name, pid = process._parent_name, process._parent_pid
        _process._parent_process = ParentProcess(name, pid, sentinel)
        return run()

    return with_parent


class ParentProcess(_process._ParentProcess):  # type: ignore[misc]
    """The process that started this one.

    A process ends with its parent. One that looks at it by `is_alive`, `join` or `sentinel` gets
    a fifth of a second more to end by itself. A parent that runs another program (``os.execv``) has
    ended, too.
    """

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        _runtime.looks_after_parent()
        return bool(super().is_alive())

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, for `timeout` seconds at most."""
        _runtime.looks_after_parent()
        super().join(timeout)

    @property
    def sentinel(self) -> int:
        """A descriptor that is readable once it has ended."""
        _runtime.looks_after_parent()
        return int(self._sentinel)


def _end(exitcode: int, recorder: Recorder | None) -> NoReturn:
    try:
        atexit._run_exitfuncs()
        parent_state.flush_streams()
        if recorder is not None:
            recorder.write(exitcode)
    finally:
        os._exit(exitcode)


def _take_over_output(out: int, err: int) -> None:
    """The parent's descriptors 1 and 2 of the moment: the template's may be older."""
    for fd, standard in ((out, 1), (err, 2)):
        os.dup2(fd, standard)
        os.close(fd)


def _unpickle(setup_bytes: bytes, fds: list[int]) -> tuple[Any, Any]:
    """The process object, and the queue for what it returns."""
    sent_fds.receive(fds)
    setup: ProcessSetup = codec.loads(setup_bytes)
    current = _process.current_process()
    current.name = setup.name
    current.authkey = setup.authkey
    # The standard module's words for: this process is not ready to have children.
    current._inheriting = True
    try:
        parent_state.prepare(setup.parent, as_pool_worker=False)
        atexit.register(_util._exit_function)
        main_module.make_lazy(setup.main)
        _set_start_method(setup.parent.start_method, setup.start_method)
        if setup.tracker_fd is not None:
            _share_tracker(fds[setup.tracker_fd])
        if setup.log_to_stderr:
            _util.log_to_stderr()
        if setup.log_level is not None:
            _util.get_logger().setLevel(setup.log_level)
        return codec.loads(setup.process), setup.carrier
    finally:
        del current._inheriting


def _set_start_method(standard: str | None, ours: str) -> None:
    """What the standard module's functions use, if the parent has chosen it, and ours."""
    if standard is not None:
        _standard_context._force_start_method(standard)
    context._force_start_method(ours)


def _share_tracker(fd: int) -> None:
    """Names that the standard module's objects register belong to the parent's tracker."""
    from multiprocessing import resource_tracker

    tracker: Any = resource_tracker._resource_tracker
    tracker._fd = fd
