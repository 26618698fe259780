"""Descriptors that objects bring along while a process is being started.

multiprocessing's objects (sockets, connections) are pickled in the parent with `SentFd`s, and take
their descriptors in the child with `SentFd.detach`, as with the standard start methods.
"""

from __future__ import annotations

_received: list[int] = []


class SentFd:
    """A descriptor that was sent with the launch, by its place among those that were."""

    def __init__(self, idx: int) -> None:
        self.idx = idx

    def detach(self) -> int:
        """The descriptor in this process; the caller owns it."""
        return _received[self.idx]


def receive(fds: list[int]) -> None:
    """In the child: what `SentFd`s refer to."""
    _received[:] = fds
