"""What parent and child write for each other: one anonymous memory file a process.

| bytes | who writes | what |
|---|---|---|
| 0 to 47 | the child, once, at its end | `_HEADER`: how it ended |
| 48 | the child, first thing | 1: the references of the setup are its own now |
| from 64 | the parent, before the launch | the setup: a pickle, and handles of what it names |
| after | the child, before the header | the outcome: what `run` raised |

The header is written by one call after the outcome is complete, so a child that is killed at any
instruction leaves either no outcome or a whole one. The file has no name and goes with its last
descriptor. It never makes the child wait, whatever its size.
"""

from __future__ import annotations

import os
import resource
import struct
from typing import Any, NamedTuple

from manyhands import _runtime

#: The outcome's kind, its place and length, the exit code, processor seconds, peak memory in bytes.
_HEADER = struct.Struct("<qQQqdQ")
_TAKEN_AT = 48
_SETUP_AT = 64
_LENGTH = struct.Struct("<Q")

NOTHING, RETURNED_NONE, RETURNED, RAISED = range(4)


class LastWords(NamedTuple):
    """What a child has left behind at its end."""

    kind: int
    outcome: bytes
    exitcode: int
    cpu_time: float
    peak_memory: int


class LaunchRecord:
    """The memory file of one process; `fd` is its descriptor here."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def new(cls) -> LaunchRecord:
        """An empty file."""
        return cls(_runtime.memory_file("manyhands-process"))

    def write_setup(self, setup: bytes, handles: bytes) -> None:
        """In the parent, before the launch.

        Raises:
            OSError: there is no memory.
        """
        _write(self.fd, _LENGTH.pack(len(handles)) + handles + setup, _SETUP_AT)

    def read_setup(self) -> tuple[bytes, bytes]:
        """In the child, first thing: the setup, and handles whose references it has taken over."""
        data = _read(self.fd, _SETUP_AT, os.fstat(self.fd).st_size - _SETUP_AT)
        at = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        os.pwrite(self.fd, b"\1", _TAKEN_AT)
        return data[at:], data[_LENGTH.size : at]

    def is_taken(self) -> bool:
        """In the parent, after the child's end: whether the child came to read its setup."""
        return os.pread(self.fd, 1, _TAKEN_AT) == b"\1"

    def write_end(self, kind: int, outcome: bytes, exitcode: int) -> None:
        """In the child, last thing. Without memory, the outcome is missing.

        Raises:
            OSError: the file is gone, or there is no memory.
        """
        outcome_at = max(os.fstat(self.fd).st_size, _SETUP_AT)
        try:
            _write(self.fd, outcome, outcome_at)
        except OSError:
            kind, outcome = NOTHING, b""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        header = _HEADER.pack(
            kind,
            outcome_at,
            len(outcome),
            exitcode + 1,  # 0 is what an unwritten header says.
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
        )
        os.pwrite(self.fd, header, 0)

    def read_end(self) -> LastWords | None:
        """In the parent, after the child's end; None if it did not come to write it."""
        header = os.pread(self.fd, _HEADER.size, 0)
        if len(header) < _HEADER.size:
            return None
        kind, at, length, exitcode, cpu_time, peak_memory = _HEADER.unpack(header)
        if exitcode == 0:
            return None
        outcome = _read(self.fd, at, length)
        return LastWords(kind, outcome, exitcode - 1, cpu_time, peak_memory)

    def close(self) -> None:
        """Gives the descriptor up."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _write(fd: int, data: Any, at: int) -> None:
    view = memoryview(data)
    while view:
        n_bytes = os.pwrite(fd, view, at)
        view = view[n_bytes:]
        at += n_bytes


def _read(fd: int, at: int, n_bytes: int) -> bytes:
    parts = []
    while n_bytes > 0:
        part = os.pread(fd, n_bytes, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
        n_bytes -= len(part)
    return b"".join(parts)
