"""The shim under which CPython's tests run on our executors; see `run.py`."""

import manyhands


def install() -> None:
    """Called in every interpreter of the run; refuses a run that would test something else."""
    manyhands.install()
    if not manyhands.is_installed():
        raise SystemExit("the conformance run is void: manyhands.install() installed nothing.")
