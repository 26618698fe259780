"""`Connection`, `Pipe` and `wait` over the runtime's pipes.

Guarantees: an instance of our `Connection` is one of the standard class; all that moves messages is
compiled.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from multiprocessing.connection import Connection as StandardConnection
from multiprocessing.connection import wait as standard_wait
from multiprocessing.util import Finalize
from typing import Any

from .._runtime import ConnectionCore, linger_for_sockets, open_pipe, prepare_connections

__all__ = ["Connection", "Pipe", "wait"]

prepare_connections()


class Connection(ConnectionCore, StandardConnection):
    """One end of a pipe between processes; see `Pipe`.

    Called with a descriptor it makes a connection of the standard module.
    """

    def __new__(cls, handle: Any, readable: bool = True, writable: bool = True) -> Any:
        if isinstance(handle, bytes):
            return ConnectionCore.__new__(cls, handle)
        return StandardConnection(handle, readable, writable)

    def __init__(self, handle: Any, readable: bool = True, writable: bool = True) -> None:
        # Everything is done, and the standard class would take `handle` for a descriptor.
        pass

    def __del__(self) -> None:
        # The standard class has a descriptor to close.
        pass

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether there is something to receive: a message, or end-of-file.

        Args:
            timeout: seconds to wait for it; None waits for ever.

        Raises:
            OSError: the connection is closed, or only sends.

        >>> a, b = Pipe()
        >>> a.poll()
        False
        >>> b.send(1); a.poll(1.0)
        True
        """
        return self._poll(timeout)

    def fileno(self) -> int:
        """A descriptor that can be read exactly while there is something to receive.

        Of a duplex pipe it is a socket connected to the other end's, so that descriptors can be
        sent with ``multiprocessing.reduction.send_handle``. Messages do not go through it.

        Raises:
            OSError: the connection is closed; or there is no descriptor or thread to be had.

        >>> import select
        >>> a, b = Pipe()
        >>> a.send(1)
        >>> select.select([b], [], [])[0] == [b]
        True
        """
        if self.writable and self.readable:
            _linger_at_exit()
        return super().fileno()

    def __repr__(self) -> str:
        if self.closed:
            return "<Connection (closed)>"
        way = "" if self.readable and self.writable else " reader" if self.readable else " writer"
        return f"<Connection{way} {self._id:#x}>"


def _linger_at_exit() -> None:
    """What was written to a descriptor must not be lost because this process ends right after."""
    global _lingers
    if _lingers != os.getpid():
        _lingers = os.getpid()
        Finalize(None, linger_for_sockets, exitpriority=-100)


_lingers = 0

Connection.__module__ = "manyhands.multiprocessing.connection"


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Make a pipe: two connected ends, for threads and for processes of this family.

    Args:
        duplex: both ends send and receive; else the first one only receives, the second one sends.

    Raises:
        MemoryError: the family heap has no room.

    >>> here, there = Pipe()
    >>> here.send({"answer": 42}); there.recv()
    {'answer': 42}
    """
    return open_pipe(Connection, duplex)


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """Wait until something of `object_list` is ready; return what is.

    Args:
        object_list: connections of ours and of the standard module, sockets, process sentinels,
            anything with a descriptor.
        timeout: seconds; None waits for ever.

    >>> a, b = Pipe()
    >>> wait([a, b], timeout=0)
    []
    >>> a.send(1); wait([a, b]) == [b]
    True
    """
    objects = list(object_list)
    ours = [one for one in objects if isinstance(one, Connection)]
    ready = {id(one) for one in ours if one._is_ready()}
    if ready or (timeout is not None and timeout <= 0):
        others = [one for one in objects if not isinstance(one, Connection)]
        if others:
            ready.update(map(id, standard_wait(others, 0)))
        return [one for one in objects if id(one) in ready]
    if len(objects) == len(ours) == 1 and ours[0].readable:
        # Needs no descriptor.
        return objects if ours[0].poll(timeout) else []
    return standard_wait(objects, timeout)
