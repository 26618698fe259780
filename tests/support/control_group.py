"""Control groups with a limit on memory, as containers have them. Making one takes root."""

import contextlib
import pathlib
import time
import uuid

ROOT = pathlib.Path("/sys/fs/cgroup")

#: Source for the first lines of a program that is to run in a group.
ENTER = """
import os
with open(os.environ["MANYHANDS_TEST_GROUP"] + "/cgroup.procs", "w") as procs:
    procs.write("0")
"""


def own_path(controllers):
    """Where this process is in the hierarchy that has `controllers` ("": the unified one)."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controllers in names.split(","):
            return path.strip("/")
    return ""


def candidates():
    """Folders in which a group can perhaps be made, and the file that takes its limit."""
    yield ROOT / "memory" / own_path("memory"), "memory.limit_in_bytes"
    yield ROOT / "memory", "memory.limit_in_bytes"
    for unified in (ROOT, ROOT / "unified"):
        # A group with processes in it has no groups with limits below it: beside our own, then.
        yield (unified / own_path("")).parent, "memory.max"
        yield unified, "memory.max"


@contextlib.contextmanager
def memory_group(limit_bytes):
    """A group whose processes get no more than so much memory; None if none can be made."""
    group = None
    for parent, limit_file in candidates():
        group = parent / f"manyhands-test-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit_file).write_text(str(limit_bytes))
            break
        except OSError:
            group.rmdir()
    else:
        group = None
    try:
        yield group
    finally:
        if group is not None:
            remove(group)


def remove(group):
    """Takes the group away once its last process is gone, which the kernel may notice late."""
    deadline = time.monotonic() + 15
    while True:
        try:
            return group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)
