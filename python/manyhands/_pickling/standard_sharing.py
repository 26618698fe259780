"""multiprocessing's own objects (locks, queues, shared values) in ``initargs``.

They can be pickled only while a process is being spawned, and then once for each child. Workers
are not children that multiprocessing spawned, and one pickle serves them all. This module makes
such a pickle: semaphores travel by name, descriptors through multiprocessing's resource sharer,
to any number of workers until the `Shares` are closed.

Guarantees: an object that cannot be shared raises `ForkOnlyObject` (a RuntimeError) here, in the
parent, not in a worker.

Does not do: share locks and queues of the ``fork`` context, whose semaphores have no name; they
reach only workers that were forked from the process that made them.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class ForkOnlyObject(RuntimeError):
    """A multiprocessing object of the ``fork`` context was given to workers started otherwise."""


ForkOnlyObject.__module__ = "manyhands"


class Shares:
    """The descriptors a pickle refers to. Keep it while workers may still be started."""

    def __init__(self) -> None:
        self._closers: list[Callable[[], None]] = []

    def duplicate_for_child(self, fd: int) -> int:
        """Called by multiprocessing; what is duplicated is up to `DupFd`."""
        return fd

    def DupFd(self, fd: int) -> Any:  # noqa: N802 - multiprocessing's name
        """Offer `fd` to every process that unpickles the returned object."""
        from multiprocessing import reduction
        from multiprocessing import resource_sharer as resource_sharer_module

        resource_sharer: Any = resource_sharer_module
        sharer = resource_sharer._resource_sharer
        own_fd = os.dup(fd)
        offered = True

        def send(conn: Any, pid: int) -> None:
            reduction.send_handle(conn, own_fd, pid)

        def offer_again() -> None:
            # The sharer drops an entry once it is served, then calls this. (It serves one client
            # after the other, so nobody can miss the entry in between.)
            if offered:
                sharer._cache[key] = (send, offer_again)

        def withdraw() -> None:
            nonlocal offered
            offered = False
            sharer._cache.pop(key, None)
            os.close(own_fd)

        wrapper = resource_sharer.DupFd.__new__(resource_sharer.DupFd)
        wrapper._id = sharer.register(send, offer_again)
        key = wrapper._id[1]
        self._closers.append(withdraw)
        return wrapper

    def close(self) -> None:
        """Withdraw the descriptors; workers that have unpickled keep theirs."""
        while self._closers:
            self._closers.pop()()


@contextlib.contextmanager
def fake_spawning_popen() -> Iterator[Shares]:
    """Let multiprocessing's objects be pickled inside the block, for any worker.

    The caller closes the `Shares`. The workers need the same ``authkey`` (`parent_state` sees to
    it). Only the current thread is affected.
    """
    from multiprocessing import context as context_module

    context: Any = context_module
    shares = Shares()
    before = context.get_spawning_popen()
    context.set_spawning_popen(shares)
    try:
        yield shares
    except BaseException:
        shares.close()
        raise
    finally:
        context.set_spawning_popen(before)


def dumps_initializer(initializer: Any, initargs: tuple[Any, ...]) -> tuple[bytes, Shares | None]:
    """Pickle ``(initializer, initargs)`` for workers that are not forked from this process.

    Returns: the pickle, and the shares to close when the pool ends (None if there are none).
    Raises: `ForkOnlyObject`; what cannot be pickled at all raises as `_pickling.dumps_call`.
    """
    from manyhands._pickling import codec, diagnose

    if "multiprocessing.synchronize" not in sys.modules and not _has_connections():
        return codec.dumps((initializer, initargs), None), None
    call = (initializer, initargs)
    with fake_spawning_popen() as shares, io.BytesIO() as file:
        try:
            _pickler(file).dump(call)
        except ForkOnlyObject:
            raise
        except Exception as error:
            explained = diagnose.explain(call, error, "the initializer's call")
            raise explained from (error if explained is not error else None)
        data = file.getvalue()
    return data, shares if shares._closers else None


def _has_connections() -> bool:
    return "multiprocessing.reduction" in sys.modules


def _pickler(file: Any) -> Any:
    from manyhands._pickling import by_value

    class InitializerPickler(by_value.ByValuePickler):
        """Refuses what only a forked worker could have."""

        def reducer_override(self, obj: Any) -> Any:
            synchronize = sys.modules.get("multiprocessing.synchronize")
            if synchronize and isinstance(obj, synchronize.SemLock) and obj._semlock.name is None:
                raise ForkOnlyObject(
                    f"a multiprocessing {type(obj).__name__} of the 'fork' context (alone, or "
                    f"inside a Queue or Value) cannot reach workers that are not forked from this "
                    f"process; make it with multiprocessing.get_context('forkserver'), or give "
                    f"the pool mp_context=multiprocessing.get_context('fork')"
                )
            return super().reducer_override(obj)

    return InitializerPickler(file, None, False)
