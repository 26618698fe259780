"""The shim under which CPython's tests run on ours; see `run.py`."""

from __future__ import annotations

import manyhands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def install() -> None:
    """Called in every interpreter of the run; refuses a run that would test something else."""
    if is_subinterpreter():
        return  # It has the standard modules: the runtime cannot be loaded there.
    manyhands.install()
    if not manyhands.is_installed():
        raise SystemExit("the conformance run is void: manyhands.install() installed nothing.")


def is_subinterpreter() -> bool:
    """Whether this interpreter is not the process's first."""
    try:
        import manyhands._runtime  # noqa: F401
    except ImportError as error:
        return "subinterpreters" in str(error)
    return False


def adapt(tests: ModuleType) -> None:
    """Called with each module of tests before it runs: some keep what they test to themselves."""
    if tests.__name__ == "test.test_queue":
        import queue

        # Its copies of the module are made anew, behind the back of whoever replaced names in it.
        # What it calls the C variant is the one that programs get.
        for name, value in vars(tests).items():
            if name.startswith("C") and hasattr(value, "queue"):
                value.queue = queue
    if tests.__name__ == "test.test_threading":
        import threading

        # The class of tests names the private `_CRLock`: again the variant that programs get.
        tests.CRLockTests.locktype = threading.RLock
    if tests.__name__ == "test.test_concurrent_futures.test_init":
        from multiprocessing import resource_tracker

        # Asks how the resource tracker ended, to see that nothing was left for it to unlink. The
        # semaphores of the standard queue have started it by then; ours has no name to unlink, so
        # the test starts it itself.
        case = tests.FailingInitializerResourcesTest
        case.setUp = lambda self: resource_tracker.ensure_running()
