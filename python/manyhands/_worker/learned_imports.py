"""The template imports what its children keep importing, so that later ones begin with it.

A pool's worker that runs a task of a program that uses NumPy imports NumPy, and so does every
worker of every later pool. Here each child tells its template what it imports, through a pipe::

    child: ImportReporter ──"pid module"──▶ pipe ──▶ template: ImportLearner
                                                      │ what two children have imported
                                                      ├─▶ trial: a fork that imports it and looks
                                                      └─▶ imports it, when the trial went well

Guarantees:
    Only modules of the standard library and of installed packages are learned, never the program's
    own: those run in each process that needs them, and nowhere else. The template learns nothing
    that leaves it with another thread, a signal handler, something to do at exit, or dead: the
    trial finds out. A
    trial gives way to the children's tasks, and ends with the template. Children whose
    environment or ``sys.path`` differs from the template's teach nothing, and are forked from a
    template that does not learn (see `launchers`). A killed child or template changes nothing:
    each report is one write.

Does not do: guess. The first children of a program import for themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import os
import resource
import signal
import sys
import time
import warnings
import weakref
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from manyhands import _runtime

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["ImportLearner", "ImportReporter"]

#: Children that must have imported a module: one alone may have been the only one that needs it.
_ENOUGH = 2
#: Seconds that children get to import the rest of what they need, once a trial is worth it.
_PATIENCE_S = 0.05
#: Processor seconds that a trial may use.
_TRIAL_LIMIT_S = 60
_TRIAL_NICENESS = 5
_MOST_NAMES = 20_000

#: Packages with state of their own for each process.
_NEVER = frozenset({"__main__", "__mp_main__", "concurrent", "multiprocessing"})


class ImportReporter:
    """In a child, a finder for `sys.meta_path` that finds nothing, and tells what is looked for."""

    def __init__(self, fd: int, surroundings: tuple[Any, ...]) -> None:
        self._fd = fd
        self._pipe = os.fstat(fd)
        self._surroundings = surroundings

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None: whoever finds the module without this one shall find it."""
        if self._fd >= 0 and _surroundings_are(self._surroundings):
            try:
                if os.path.samestat(os.fstat(self._fd), self._pipe):
                    os.write(self._fd, f"{os.getpid()} {name}\n".encode())
                else:
                    self._fd = -1  # The child has closed it; the number is somebody else's.
            except (BlockingIOError, UnicodeError):
                pass  # A template that has more to read than it wants; an odd name.
            except OSError:
                self._fd = -1
        return None

    def invalidate_caches(self) -> None:
        """Nothing is cached here."""


class ImportLearner:
    """In the template, what is known of its children's imports."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._surroundings = (dict(os.environ), list(sys.path))
        self._unread = b""
        # Module names in the order in which they were first looked for, and by whom.
        self._importers: dict[str, set[int]] = {}
        # When the next trial should begin, on the monotonic clock.
        self._trial_at: float | None = None
        self._settled: set[str] = set()
        self._refused: set[str] = set()
        self._trial: _Trial | None = None

    @property
    def fds(self) -> list[int]:
        """Descriptors that can be read when there is something for `attend`."""
        return [self._reader] if self._trial is None else [self._reader, self._trial.ended]

    @property
    def timeout(self) -> float | None:
        """Seconds after which `attend` has something to do anyway."""
        if self._trial_at is None or self._trial is not None:
            return None
        return max(0.0, self._trial_at - time.monotonic())

    def reporter(self) -> ImportReporter:
        """For a child, made in the child. It keeps the pipe's end for writing."""
        os.close(self._reader)
        if self._trial is not None:
            self._trial.close()
        return ImportReporter(self._writer, self._surroundings)

    def attend(self, server: _runtime.TemplateServer) -> bool:
        """Read what children report; start a trial, or import what has stood one.

        Returns: whether something was imported.
        """
        self._read()
        if self._trial is not None:
            if self._trial.has_ended():
                trial, self._trial = self._trial, None
                self._learn(trial)
                return True
        elif self._trial_at is not None and time.monotonic() >= self._trial_at:
            self._trial_at = None
            if names := self._candidates():
                self._trial = _Trial(names, server)
        return False

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._reader, 1 << 16):
                *lines, self._unread = (self._unread + data).split(b"\n")
                for line in lines:
                    self._note(line)

    def _note(self, line: bytes) -> None:
        pid, _, name = line.decode(errors="replace").partition(" ")
        if name.partition(".")[0] in _NEVER or name in sys.modules or not pid.isdigit():
            return
        if len(self._importers) >= _MOST_NAMES and name not in self._importers:
            return
        importers = self._importers.setdefault(name, set())
        if len(importers) < _ENOUGH:
            importers.add(int(pid))
            if len(importers) >= _ENOUGH:
                self._expect_trial()

    def _expect_trial(self) -> None:
        if self._trial_at is None:
            self._trial_at = time.monotonic() + _PATIENCE_S

    def _candidates(self) -> list[str]:
        """What the next trial is for."""
        known: dict[str, bool] = {}
        names = []
        for name, importers in self._importers.items():
            if len(importers) < _ENOUGH or name in self._settled or name in sys.modules:
                continue
            package = name.partition(".")[0]
            if package not in known:
                known[package] = package not in self._refused and _is_installed(package)
            if known[package]:
                names.append(name)
        return names

    def _learn(self, trial: _Trial) -> None:
        """Import what the trial has imported; the package at which it ended is refused."""
        passed = trial.passed()
        for package in dict.fromkeys(name.partition(".")[0] for name in trial.names):
            if package not in passed:
                self._refused.add(package)
                self._expect_trial()  # Of those after it.
                break
        learned = [name for name in trial.names if name.partition(".")[0] in passed]
        self._settled.update(learned)
        _import_quietly(learned)


class _Trial:
    """A fork of the template that imports `names`, and says after which packages it was sound."""

    def __init__(self, names: list[str], server: _runtime.TemplateServer) -> None:
        self.names = names
        self._reader, writer = os.pipe2(os.O_CLOEXEC)
        template = _runtime.ProcessHandle(os.getpid())
        try:
            self._pid = os.fork()
            if self._pid == 0:
                server.let_go()
                _try(names, writer, template)
            self.ended = _runtime.ProcessHandle(self._pid).sentinel()
        finally:
            os.close(writer)

    def has_ended(self) -> bool:
        """Whether it has; it is reaped then."""
        return os.waitpid(self._pid, os.WNOHANG)[0] != 0

    def passed(self) -> set[str]:
        """After its end: the packages after which it was sound."""
        with open(self._reader, "rb") as file:
            text = file.read()
        os.close(self.ended)
        return set(text.decode().split())

    def close(self) -> None:
        """In a child of the template."""
        os.close(self._reader)
        os.close(self.ended)


def _try(names: list[str], writer: int, template: _runtime.ProcessHandle) -> None:
    """Be the trial; ends the process."""
    try:
        _runtime.end_with_parent(template)
        resource.setrlimit(resource.RLIMIT_CPU, (_TRIAL_LIMIT_S, _TRIAL_LIMIT_S))
        os.nice(_TRIAL_NICENESS)
        for name in ("logging", "multiprocessing.util"):
            importlib.import_module(name)  # `parent_state` sees to their end in each worker.
        before = _leftovers()
        n_threads = _n_threads()
        for package in dict.fromkeys(name.partition(".")[0] for name in names):
            _import_quietly([name for name in names if name.partition(".")[0] == package])
            if _leftovers() != before or not _forks_with(n_threads):
                break
            os.write(writer, f"{package}\n".encode())
    finally:
        os._exit(0)


def _import_quietly(names: list[str]) -> None:
    """Import what can be imported; it has been said before what such imports print."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for name in names:
            # Children look for optional modules that are not there, too.
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _forks_with(n_threads: int) -> bool:
    """Whether after a fork this process has so many threads: some libraries end theirs for it."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    for _ in range(40):
        if _n_threads() == n_threads:
            return True
        time.sleep(0.005)  # A thread that was joined may be seen for a moment more.
    return False


def _n_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _leftovers() -> tuple[Any, ...]:
    """What an import may leave that is one process's own, and not every fork's."""
    finalizers: Any = weakref.finalize
    handlers = [signal.getsignal(number) for number in sorted(signal.valid_signals())]
    return handlers, atexit._ncallbacks(), len(finalizers._registry)


def _surroundings_are(expected: tuple[Any, ...]) -> bool:
    environ, path = expected
    return bool(sys.path == path and os.environ == environ)


def _is_installed(package: str) -> bool:
    """Whether it belongs to the standard library or was installed, so is not the program's own."""
    if package == __package__:
        return True  # Wherever it lies: nothing of ours minds a fork.
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None:
        return False
    standard = os.path.dirname(os.__file__) + os.sep
    places = list(spec.submodule_search_locations or [spec.origin or ""])
    return bool(places) and all(
        place.startswith(standard)
        or not {"site-packages", "dist-packages"}.isdisjoint(place.split(os.sep))
        for place in places
    )
