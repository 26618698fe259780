"""How processes are started, as the parent sees them: objects like `multiprocessing`'s ``Popen``.

| start method | a process is |
|---|---|
| template, forkserver | a fork of the template, which forks the workers of pools as well |
| spawn | a fresh interpreter |
| fork | a fork of this process (`forking`) |

Guarantees: a start that fails, or that a Ctrl-C ends, leaves no process, descriptor or party
behind.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from collections.abc import Iterator
from multiprocessing import context as _context_module
from multiprocessing import reduction, spawn
from multiprocessing import util as _util_module
from typing import Any

from manyhands import _runtime
from manyhands._drop_in.installer import is_installed
from manyhands._pickling import codec, diagnose
from manyhands._pickling.by_value import ByValuePickler
from manyhands._worker import launchers, parent_state
from manyhands._worker.setups import ProcessSetup

from . import main_module
from .popen import Popen
from .sent_fds import SentFd

_context: Any = _context_module
_util: Any = _util_module

_preload: tuple[str, ...] = ()

#: Templates that have been used, by what they are made of; kept until the program ends.
_templates: dict[Any, Any] = {}
_owner_pid = 0


def set_preload(module_names: list[str]) -> None:
    """Names of modules that templates import, from now on."""
    global _preload
    if not all(isinstance(name, str) for name in module_names):
        raise TypeError("module_names must be a list of strings")
    _preload = tuple(name for name in module_names if name != "__main__")


class LaunchedPopen(Popen):
    """A process that is not a copy of this one."""

    DupFd = SentFd

    def __init__(self, process: Any, method: str) -> None:
        super().__init__()
        self.method = method
        self._fds: list[int] = []
        self._handles = b""
        # Before it is started: a Ctrl-C that arrives with its start must find it.
        self._child = _runtime.ChildProcess()
        try:
            setup, references = _runtime.collect_references(lambda: self._setup(process))
            self._handles = references.leave()
            self._record.write_setup(setup, self._handles)
            may_be_orphan = getattr(process, "_may_be_orphan", False)
            with _output_fds() as output_fds:
                fds = [self._record.fd, *output_fds, *self._fds]
                self._child.start(_launcher(method), fds, may_be_orphan)
            pid = self._child.pid
            assert pid is not None, "it has started"
            self.pid = pid
            self.sentinel = self._child.sentinel()
            self._own_descriptors()
        except BaseException:
            self._undo_start()
            raise
        finally:
            # The objects they belong to are pickled by now.
            self._fds = []

    def _undo_start(self) -> None:
        """Ends what has been started.

        Its end comes first: only then is it known whether it has taken its references. A second
        Ctrl-C meanwhile leaves them to the end of the program.
        """
        try:
            self._child.give_up()
            self._release_references()
        finally:
            self._drop_descriptors()

    def duplicate_for_child(self, fd: int) -> int:
        """Called by what is being pickled: the descriptor's place among those that are sent."""
        self._fds.append(fd)
        return len(self._fds) - 1

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """The exit code; None while the process runs."""
        if self.returncode is None and self._is_owner():
            self._learn(self._child.poll())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code, waited for; None if the process still runs after `timeout` seconds."""
        if self.returncode is None and self._is_owner():
            self._learn(self._child.wait(timeout))
        return self.returncode

    def _learn(self, exitcode: int | None) -> None:
        if exitcode is not None and self._child.has_unknown_end:
            # The template was killed meanwhile: what the process said itself is the truth.
            words = self.last_words()
            exitcode = words.exitcode if words else exitcode
        if exitcode is not None:
            self._release_references()
        self.returncode = exitcode

    def _release_references(self) -> None:
        """The process has ended: what it did not come to take over is released here."""
        # One step, so that one thread gets them.
        handles = self.__dict__.pop("_handles", b"")
        if handles and not self._record.is_taken():
            _runtime.References.take_over(handles).release()

    def describe_end(self) -> str:
        """How it ended, for people."""
        return self._child.describe_end() or "has not ended"

    def send_signal(self, number: int) -> None:
        """Sends a signal; never hits another process that got the same id."""
        if self.returncode is None:
            self._child.signal(number)

    def _setup(self, process: Any) -> bytes:
        parent = parent_state.describe_parent()
        _context.set_spawning_popen(self)
        try:
            setup = ProcessSetup(
                parent=parent,
                name=process._name,
                authkey=bytes(process._config["authkey"]),
                main=main_module.describe(),
                start_method=self.method,
                tracker_fd=self._tracker_fd(),
                log_to_stderr=_util._log_to_stderr,
                log_level=_util._logger.getEffectiveLevel() if _util._logger else None,
                carrier=self._carrier,
                process=self._pickled(process),
            )
            return codec.dumps(setup, None)
        finally:
            _context.set_spawning_popen(None)

    def _pickled(self, process: Any) -> bytes:
        n_fds = len(self._fds)
        try:
            data = bytes(reduction.ForkingPickler.dumps(process, 5))
            if b"__main__" not in data:
                return data
        except (AttributeError, TypeError, pickle.PicklingError):
            pass  # By value, perhaps.
        del self._fds[n_fds:]
        return _pickled_by_value(process)

    def _tracker_fd(self) -> int | None:
        module: Any = sys.modules.get("multiprocessing.resource_tracker")
        fd = module._resource_tracker._fd if module else None
        return None if fd is None else self.duplicate_for_child(fd)


def _pickled_by_value(process: Any) -> bytes:
    import io

    with io.BytesIO() as file:
        try:
            ByValuePickler(file, None, False).dump(process)
        except Exception as error:
            explained = diagnose.explain(process, error, "the process")
            raise explained from (error if explained is not error else None)
        return file.getvalue()


@contextlib.contextmanager
def _output_fds() -> Iterator[list[int]]:
    """Standard output and error; /dev/null in the place of one that is closed, as in a daemon.

    One that programs started by this one would not get is none: something else was given its
    number, our launch record perhaps, which are not to be printed into.
    """
    null = os.open(os.devnull, os.O_RDWR)
    try:
        yield [fd if _is_inherited(fd) else null for fd in (1, 2)]
    finally:
        os.close(null)


def _is_inherited(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def _launcher(method: str) -> Any:
    if method == "spawn":
        return launchers.program()
    global _owner_pid
    if _owner_pid != os.getpid():
        _templates.clear()
        _owner_pid = os.getpid()
        # After the processes have been joined, which happens between priorities 0 and below.
        _util.Finalize(None, _stop_templates, exitpriority=-100)
    key = (_preload, spawn.get_executable(), is_installed(), launchers.learns())
    if key not in _templates:
        _templates[key] = launchers.template(_preload)
    return _templates[key]


def _stop_templates() -> None:
    _templates.clear()
    _runtime.stop_templates()
