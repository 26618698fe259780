"""How many processors this process may use.

What the user chose counts first: ``PYTHON_CPU_COUNT`` and ``-X cpu_count``, also on Python versions
that do not know them yet. Else it is what affinity and the container's CPU quota (cgroup v1 and
v2) allow, which the runtime finds out.
"""

import os
import sys

from manyhands import _runtime

__all__ = ["usable_cpus"]


def usable_cpus() -> int:
    """Returns the number of processors this process may use, at least 1.

    >>> usable_cpus() >= 1
    True
    """
    return _chosen() or _runtime.usable_cpus()


def _chosen() -> int | None:
    """The number that the user, or a program that replaced ``os.process_cpu_count``, decided on."""
    environ = {} if sys.flags.ignore_environment else os.environ
    chosen = sys._xoptions.get("cpu_count", environ.get("PYTHON_CPU_COUNT", ""))
    if isinstance(chosen, str) and chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    count: int | None = getattr(os, "process_cpu_count", lambda: None)()
    # What it says by itself is the affinity, which the runtime knows too.
    return None if count == len(os.sched_getaffinity(0)) else count
