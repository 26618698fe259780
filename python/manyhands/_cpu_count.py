"""How many processors this process may use.

Counts what affinity, the container's CPU quota (cgroup v1 and v2) and ``PYTHON_CPU_COUNT`` allow,
also on Python versions whose `os.cpu_count` does not.
"""

import math
import os
from collections.abc import Callable, Iterator

__all__ = ["usable_cpus"]


def usable_cpus() -> int:
    """Returns the number of processors this process may use, at least 1.

    >>> usable_cpus() >= 1
    True
    """
    chosen = os.environ.get("PYTHON_CPU_COUNT", "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    count = getattr(os, "process_cpu_count", lambda: len(os.sched_getaffinity(0)))() or 1
    quota = _cgroup_quota()
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def _cgroup_quota() -> float | None:
    """The CPU quota in processors of this process's control group, or None."""
    quotas: list[float] = []
    try:
        with open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quotas += _quotas_along("/sys/fs/cgroup", path, _quota_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas_along("/sys/fs/cgroup/cpu", path, _quota_v1)
    return min(quotas, default=None)


def _quotas_along(root: str, path: str, read: Callable[[str], float | None]) -> Iterator[float]:
    """The quotas of a group and of all groups it lies in: the smallest one counts."""
    parts = [part for part in path.split("/") if part]
    for depth in range(len(parts) + 1):
        quota = read("/".join([root, *parts[:depth]]))
        if quota is not None:
            yield quota


def _quota_v2(folder: str) -> float | None:
    text = _read(f"{folder}/cpu.max")
    if text is None or text.startswith("max"):
        return None
    quota, period = text.split()
    return int(quota) / int(period)


def _quota_v1(folder: str) -> float | None:
    quota, period = _read(f"{folder}/cpu.cfs_quota_us"), _read(f"{folder}/cpu.cfs_period_us")
    if quota is None or period is None or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return None
