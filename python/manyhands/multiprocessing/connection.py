"""Pipes between processes, in shared memory: `multiprocessing.connection`, several times faster.

As https://docs.python.org/3/library/multiprocessing.html#module-multiprocessing.connection, except:

- An end can be given to any process of the family, at any time, by any way: it may be an argument,
  a queue item, the result of a task, part of another message.
- The other end reads end-of-file when *no process* has this one any more, also when the last one
  was killed; a copy that a forked process has inherited counts, as it does in the standard module.
- Several threads and processes may send to one end, and receive from one: messages arrive whole.
- A message that is interrupted (Ctrl-C, a killed process) is lost; the connection works on.

`Listener`, `Client` and what belongs to them are the standard module's: they talk to others.
"""

from __future__ import annotations

from multiprocessing import AuthenticationError, BufferTooShort
from multiprocessing.connection import (
    Client,
    Listener,
    answer_challenge,
    deliver_challenge,
)

from .._mp.connection import Connection, Pipe, wait

__all__ = [
    "AuthenticationError",
    "BufferTooShort",
    "Client",
    "Connection",
    "Listener",
    "Pipe",
    "answer_challenge",
    "deliver_challenge",
    "wait",
]
