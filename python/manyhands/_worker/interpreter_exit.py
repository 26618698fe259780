"""The end of the interpreter, and of what still works then.

Guarantees:
- work that is queued when the main program ends is done, as in the standard module; new tasks
  are refused;
- a program that ends by Ctrl-C does not wait for its tasks: what waits is cancelled, what runs is
  interrupted;
- Ctrl-C while the interpreter waits for tasks ends the program at once, with one traceback and
  the exit status of an interrupted program.

Executors of any kind register themselves; an executor that is dropped is forgotten.
"""

import atexit
import functools
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Protocol

from manyhands import _runtime
from manyhands._threads import thread_stack

__all__ = [
    "abandon_threads",
    "forget_thread",
    "has_begun",
    "join_threads",
    "register",
    "start_worker_thread",
]


class ExitingExecutor(Protocol):
    """What an executor that registers itself has."""

    def _at_interpreter_exit(self, hard: bool) -> None: ...


#: Live executors that are not thread pools: each has ``_at_interpreter_exit(hard)``.
_executors: weakref.WeakSet[ExitingExecutor] = weakref.WeakSet()

_has_begun = False

#: Worker threads that have not ended, with their loops.
_working: dict[threading.Thread, _runtime.WorkLoop] = {}

#: How long an interrupted thread may take to leave, in seconds, before the program goes on.
_HARD_STOP_PATIENCE = 0.2


def register(executor: ExitingExecutor) -> None:
    """Has ``executor._at_interpreter_exit(hard)`` called at the end of the interpreter.

    ``hard`` is true when the program ends by KeyboardInterrupt: do not wait for tasks then.
    """
    _executors.add(executor)


def start_worker_thread(
    loop: _runtime.WorkLoop, name: str, stack_size: int | None, threads: set[threading.Thread]
) -> None:
    """Starts a daemon thread that runs ``loop()``, and adds it to the set ``threads``."""
    thread = threading.Thread(target=_work, args=(loop,), name=name, daemon=True)
    _working[thread] = loop
    # Before the start: who gets the thread's first result may look for it there.
    threads.add(thread)
    try:
        thread_stack.start(thread.start, stack_size)
    except BaseException:
        if loop.abandon():
            _working.pop(thread, None)
            threads.discard(thread)
        raise


def forget_thread(name: str, threads: set[threading.Thread]) -> None:
    """Takes the thread called ``name`` off the set: it does not leave its task."""
    for thread in list(threads):
        if thread.name == name:
            threads.discard(thread)


def abandon_threads(threads: set[threading.Thread]) -> None:
    """Has the end of the interpreter not wait for these threads, whatever they are doing."""
    for thread in list(threads):
        _working.pop(thread, None)


def join_threads(threads: set[threading.Thread], deadline: float | None = None) -> None:
    """Waits for the threads that stay in the set ``threads``: stuck ones are taken off it."""
    for thread in list(threads):
        if thread is not threading.current_thread():
            _join(thread, functools.partial(_is_given_up, thread, threads), deadline)


def _is_given_up(thread: threading.Thread, threads: set[threading.Thread]) -> bool:
    return thread not in threads


def _join(
    thread: threading.Thread, is_given_up: Callable[[], bool], deadline: float | None
) -> None:
    """Waits for a thread that may be given up by the dispatcher meanwhile."""
    while not is_given_up() and (deadline is None or time.monotonic() < deadline):
        if thread.ident is None:
            time.sleep(0.001)  # Another thread is starting it, and waits for that itself.
        elif thread.is_alive():
            thread.join(0.05)
        else:
            return


def _work(loop: _runtime.WorkLoop) -> None:
    try:
        loop()
    finally:
        _working.pop(threading.current_thread(), None)


def _is_gone(thread: threading.Thread, loop: _runtime.WorkLoop) -> bool:
    return thread not in _working or loop.is_retired


def _ended_by_interrupt() -> bool:
    last = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return isinstance(last, KeyboardInterrupt)


def has_begun() -> bool:
    """Whether the interpreter has begun to end: new tasks are refused."""
    return _has_begun


def _at_exit() -> None:
    global _has_begun
    _has_begun = True
    _runtime.refuse_new_tasks()
    try:
        _finish(hard=_ended_by_interrupt())
    except KeyboardInterrupt as interrupt:
        _die_of(interrupt)


def _finish(hard: bool) -> None:
    deadline = time.monotonic() + _HARD_STOP_PATIENCE if hard else None
    try:
        for executor in list(_executors):
            executor._at_interpreter_exit(hard)
        for loop in list(_working.values()):
            if hard:
                loop.stop_all()
            else:
                loop.close()
        for thread, loop in list(_working.items()):
            _join(thread, functools.partial(_is_gone, thread, loop), deadline)
    except KeyboardInterrupt:
        if not hard:
            _finish(hard=True)
        raise


def _die_of(interrupt: KeyboardInterrupt) -> None:
    """Ends the program as Python does when KeyboardInterrupt reaches its top.

    Raised from here, the interpreter would print it as ignored and report success.
    """
    sys.excepthook(type(interrupt), interrupt, interrupt.__traceback__)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # Closed or missing: there is nobody left to tell.
            pass
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


try:
    threading._register_atexit(_at_exit)  # type: ignore[attr-defined]  # as the standard does
except RuntimeError:
    # Imported by a thread that the main thread did not wait for: what has to be waited for is
    # refused from the start.
    _has_begun = True
    _runtime.refuse_new_tasks()
# The threads are not there in a forked child.
os.register_at_fork(after_in_child=_working.clear)
