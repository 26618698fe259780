"""The template process: a clean, single-threaded interpreter that forks workers and processes.

It is started as a program of its own (start method *template*), or forked from the parent (start
method ``fork``). It imports what the pool asked for, once, so that workers are ready in about a
millisecond. It ignores Ctrl-C (SIGINT is blocked in it) and ends when the parent does.

Does not do: run tasks. Nothing of the parent's ``__main__`` is imported here.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import traceback
from typing import NoReturn

from manyhands import _runtime
from manyhands._drop_in.installer import install
from manyhands._worker import worker_main
from manyhands._worker.learned_imports import ImportLearner

#: What a process needs from us besides, `queues` for what it returns. The rest can be learned.
_REST = (
    *("_pickling.by_value", "_pickling.captured", "_pickling.main_objects"),
    *("_worker.forwarding", "_mp.child"),
    *("multiprocessing.context", "multiprocessing.queues"),
)
_UNCATCHABLE = (signal.SIGKILL, signal.SIGSTOP)
#: How long the first launches of a fresh template may take to come, in seconds.
_FIRST_RUSH_S = 0.1


def main(preload: list[str], *, installed: bool = False, learns: bool = False) -> None:
    """Entry of a template started as a program: the standard input is the socket to it.

    Args:
        preload: names of modules to import.
        installed: the parent called `manyhands.install()`. Done here, it costs no worker's time.
        learns: import what children have imported, see `learned_imports`.
    """
    server = _runtime.TemplateServer.from_hello()
    if server is None:
        os._exit(0)
    if installed:
        install()
    _import_all(preload)
    # Where there are no pidfds a trial's end takes a thread to be seen, and a template has none.
    can_learn = learns and _runtime.ProcessHandle(os.getpid()).is_pidfd
    serve(server, learner=ImportLearner() if can_learn else None)


def spawned() -> None:
    """Entry of a worker or process started as a program (start method ``spawn``)."""
    launch = _runtime.receive_launch()
    if launch is None:
        os._exit(0)
    # Where the launch leads may be no place to import from: a directory that was removed (in which
    # CPython 3.13.0 finds no extension module), a limit on files or memory.
    importlib.import_module("manyhands._pickling.codec")
    importlib.import_module("manyhands._worker.parent_state")
    if launch.is_for_process:
        importlib.import_module("manyhands._mp.child")
    _become(launch, None)


def serve(
    server: _runtime.TemplateServer,
    inherited: worker_main.Inherited | None = None,
    learner: ImportLearner | None = None,
) -> None:
    """Fork a worker for each launch until the parent wants no more; never returns."""
    importlib.import_module("manyhands._pickling.codec")
    importlib.import_module("manyhands._worker.parent_state")
    _freeze()
    is_complete = False
    try:
        while True:
            if not is_complete and not server.has_launch(_FIRST_RUSH_S):
                # The first workers are on their way: time for what later ones should find.
                is_complete = True
                _import_rest()
            if learner is not None:
                _learn_until_asked(server, learner)
            launch = server.next_launch()
            if launch is None:
                break
            if launch.is_for_process and not is_complete:
                is_complete = True
                _import_rest()
            try:
                pid = os.fork()
            except OSError as error:
                server.failed(launch, f"could not be forked: {error}")
                continue
            if pid == 0:
                server.abandon(launch)
                if learner is not None:
                    sys.meta_path.insert(0, learner.reporter())
                _become(launch, inherited)
            server.started(launch, pid)
    except (BrokenPipeError, ConnectionResetError):
        pass  # The parent has gone.
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _learn_until_asked(server: _runtime.TemplateServer, learner: ImportLearner) -> None:
    while True:
        is_asked = server.wait_for_launch(learner.fds, learner.timeout)
        # Also then: launches may come without a pause.
        if learner.attend(server):
            _freeze()
        if is_asked:
            return


def _become(launch: _runtime.Launch, inherited: worker_main.Inherited | None) -> NoReturn:
    """Be what the launch asks for, like the program that asked."""
    try:
        _ignore_signals(set(launch.enter()))
    except OSError as error:
        # A process with more than the program has must not run anything of it.
        print(f"manyhands: {error}", file=sys.stderr)  # noqa: T201 - nobody else would tell
        os._exit(1)
    if launch.is_for_process:
        from manyhands._mp import child

        child.run(launch)
    worker_main.run(launch, inherited)


def _ignore_signals(numbers: set[int]) -> None:
    """Ignore these signals, and no others."""
    for number in signal.valid_signals():
        is_ignored = signal.getsignal(number) is signal.SIG_IGN
        if is_ignored != (number in numbers) and number not in _UNCATCHABLE:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default if is_ignored else signal.SIG_IGN)


def _import_rest() -> None:
    """Import what tasks may need, so that no worker has to, and no task's time goes into it."""
    for name in _REST:
        # A program that gave up its rights may not be allowed to read them any more.
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module(f"manyhands.{name}")
    _freeze()


def _freeze() -> None:
    """What exists now is never freed: collections in workers need not write to shared pages."""
    gc.collect()
    gc.freeze()


def _import_all(preload: list[str]) -> None:
    for name in preload:
        try:
            importlib.import_module(name)
        except Exception:
            # The tasks that need the module will say so where somebody can see it.
            note = f"manyhands: preload={name!r} could not be imported:"
            print(note, file=sys.stderr)  # noqa: T201 - standard error is its only way out
            traceback.print_exc()
