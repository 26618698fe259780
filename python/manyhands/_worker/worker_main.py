"""A worker process, from its start to its end.

prepare like the parent → run the initializer → run tasks (the loop is compiled) → finish.

Guarantees: SIGINT reaches a task only as `Cancelled`, and only the task that is being stopped: a
Ctrl-C at the terminal is the parent's business. An initializer that fails is reported and ends
the pool. The process ends with ``os._exit``: nothing of the parent's runs at its exit.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from manyhands import _runtime
from manyhands._worker.setups import WorkerSetup


class Inherited(NamedTuple):
    """What a worker of start method ``fork`` has by inheritance, unpickled."""

    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]


def run(launch: _runtime.Launch, inherited: Inherited | None = None) -> NoReturn:
    """Be a worker; the process ends here."""
    exitcode = 1
    try:
        exitcode = _run(launch, inherited)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(exitcode)


def _run(launch: _runtime.Launch, inherited: Inherited | None) -> int:
    from manyhands._pickling import codec
    from manyhands._worker import parent_state

    loop = _runtime.WorkerLoop(launch)
    setup: WorkerSetup = codec.loads(loop.setup())
    _install_interrupt(loop)
    number = loop.number + setup.first_number
    parent_state.prepare(
        setup.parent,
        name=f"{setup.process_name}-{number}",
        inherited=inherited is not None,
        pool_number=number if setup.is_pool else None,
    )
    if setup.is_pool:
        codec.refused_result = _encoding_error
    _keep_last_words(loop)
    _connect_output(loop, setup, inherited)
    loop.seal()
    if not _initialize(loop, setup, inherited):
        # What the initializer started or queued for the parent ends in order all the same.
        parent_state.finish()
        return 1
    loop.run()
    parent_state.finish()
    return 0


def _install_interrupt(loop: _runtime.WorkerLoop) -> None:
    from manyhands._errors.tasks import Cancelled

    def on_interrupt(signum: int, frame: object) -> None:
        if loop.should_interrupt():
            raise Cancelled("the task was stopped")

    signal.set_wakeup_fd(-1)  # An event loop's, inherited by fork.
    signal.signal(signal.SIGINT, on_interrupt)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _keep_last_words(loop: _runtime.WorkerLoop) -> None:
    """Let a crash (segfault, abort, stack overflow) leave its Python traceback to the parent."""
    try:
        fd = loop.crash_text_fd()
    except OSError:
        return  # No /proc here: crashes are reported without their traceback.
    faulthandler.enable(file=fd, all_threads=False)


def _connect_output(
    loop: _runtime.WorkerLoop, setup: WorkerSetup, inherited: Inherited | None
) -> None:
    fds = loop.take_fds()
    if not fds:
        return
    from manyhands._worker import forwarding

    if inherited is None:
        forwarding.connect(fds[0], setup.parent)


def _initialize(loop: _runtime.WorkerLoop, setup: WorkerSetup, inherited: Inherited | None) -> bool:
    """Run the initializer; False, and the pool is told, if it fails."""
    try:
        initializer, initargs = inherited or pickle.loads(setup.initializer)
        if initializer is not None:
            initializer(*initargs)
    except BaseException as error:
        import logging

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
        text = "".join(traceback.format_exception(error)).rstrip()
        loop.set_failed(f"the initializer of a worker failed:\n{text}")
        return False
    return True


def _encoding_error(error: Exception, result: object) -> Exception:
    """What a task of `multiprocessing.Pool` raises whose result cannot be pickled."""
    from multiprocessing import pool

    module: Any = pool
    made: Exception = module.MaybeEncodingError(error, result)
    return made
