"""The manager whose objects lie in the family heap: nothing is asked of a server.

A server is started only for what cannot lie there: types that the program registers itself, pools
(their workers need a process to belong to), and a manager that was given an address, for processes
outside of the family. It is the standard one.
"""

from __future__ import annotations

import multiprocessing
import threading
import weakref
from multiprocessing import ProcessError
from multiprocessing import managers as _standard_module
from typing import Any, ClassVar

from manyhands._mp.context import _ours
from manyhands._mp.managed import primitives
from manyhands._mp.managed.base import ManagedObject
from manyhands._mp.managed.containers import DictProxy, ListProxy
from manyhands._mp.managed.values import ArrayProxy, NamespaceProxy, ValueProxy

__all__ = ["SyncManager"]

_standard: Any = _standard_module
_State = _standard.State
# Not by attribute: with `install()` that would be the class below.
_StandardSyncManager: Any = vars(_standard)["SyncManager"]
# In the class below, `dict` is a method.
_Registry = dict[str, Any]


def _make_pool(*args: Any, **kwds: Any) -> Any:
    """In a server: one of our pools."""
    return _ours("pool", "Pool")(*args, **kwds)


def _context_of_program() -> Any:
    """The context that the standard package would use; asked so, it settles for none."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.get_context(chosen or multiprocessing.get_all_start_methods()[0])


class SyncManager(_standard.BaseManager):  # type: ignore[misc]
    """A source of shared objects.

    Args:
        address: where to serve processes that are not of this family; with it, everything is the
            standard manager's. None: objects lie in the family heap, and no process is started.
        authkey: what clients have to know, for a server.
        serializer: how a server and its clients talk.
        ctx: the context whose process a server is.
        shutdown_timeout: seconds that a server has to end.

    Mirrors `multiprocessing.managers.SyncManager`.
    Differences: objects outlive the manager, as long as somebody has them; a method takes less than
    a microsecond instead of a round trip to a server; killed processes leave no object half-changed
    and no lock held.

    >>> with SyncManager() as manager:
    ...     shared = manager.dict(a=1)
    ...     shared["b"] = manager.list([2])
    ...     shared["b"].append(3)
    ...     print(shared["b"][:])
    [2, 3]
    """

    _registry: ClassVar[_Registry] = {
        **_StandardSyncManager._registry,
        "Pool": (_make_pool, *_StandardSyncManager._registry["Pool"][1:]),
    }
    _process: Any = None

    def __init__(
        self,
        address: Any = None,
        authkey: Any = None,
        serializer: str = "pickle",
        ctx: Any = None,
        **kwds: Any,
    ) -> None:
        super().__init__(address, authkey, serializer, ctx or _context_of_program(), **kwds)
        self._has_server = False
        self._is_remote = address is not None
        self._starting = threading.Lock()
        self._made: weakref.WeakSet[ManagedObject] = weakref.WeakSet()

    def start(self, initializer: Any = None, initargs: Any = ()) -> None:
        """Makes the manager ready.

        Args:
            initializer: called in a server when that begins; given one, a server is started.
            initargs: what it is called with.

        Raises:
            multiprocessing.ProcessError: it was started before.
            TypeError: the initializer cannot be called.
        """
        if self._state.value == _State.INITIAL and initializer is None and not self._is_remote:
            self._state.value = _State.STARTED
            return
        super().start(initializer, initargs)
        self._has_server = True

    def connect(self) -> None:
        """Connects to the server at the address: from now on all objects are that one's."""
        super().connect()
        self._has_server = self._is_remote = True

    def shutdown(self) -> None:
        """Ends the manager, and its server if it has one. Objects in the heap stay usable."""
        # Once there is a server, the standard finalizer stands in the place of this method.
        self._state.value = _State.SHUTDOWN

    def join(self, timeout: float | None = None) -> None:
        """Waits for the end of the server, if there is one."""
        if self._process is not None:
            super().join(timeout)

    @property
    def address(self) -> Any:
        """Where processes outside of the family reach the manager; starts a server."""
        if self._state.value == _State.STARTED:
            self._need_server()
        return self._address

    def _need_server(self) -> None:
        with self._starting:
            if self._has_server:
                return
            self._must_be_started()
            self._state.value = _State.INITIAL
            try:
                super().start()
            finally:
                self._state.value = _State.STARTED
            self._has_server = True

    def _must_be_started(self) -> None:
        if self._state.value == _State.INITIAL:
            raise ProcessError(
                "this manager is not started: call start(), or use it in a with block"
            )
        if self._state.value == _State.SHUTDOWN:
            raise ProcessError("this manager is shut down: make a new one")

    def _create(self, typeid: str, /, *args: Any, **kwds: Any) -> Any:
        self._need_server()
        return super()._create(typeid, *args, **kwds)

    def _debug_info(self) -> str:
        lines = [f"  {made._id}: {made!r}" for made in self._made]
        if self._has_server:
            lines.append(super()._debug_info())
        return "\n".join(lines)

    def _number_of_objects(self) -> int:
        served: int = super()._number_of_objects() if self._has_server else 0
        return len(self._made) + served

    def _note(self, made: Any) -> Any:
        made._manager = self
        self._made.add(made)
        return made

    def _by_server(self) -> bool:
        self._must_be_started()
        return self._is_remote

    def __reduce__(self) -> Any:
        if self._is_remote or self._has_server:
            return super().__reduce__()
        return _open_manager, (type(self), self._state.value)

    # What it makes. Given an address, all of it is the standard manager's.

    def dict(self, *args: Any, **kwds: Any) -> Any:
        """A shared dict with the contents of `dict(*args, **kwds)`."""
        if self._by_server():
            return _StandardSyncManager.dict(self, *args, **kwds)
        made = DictProxy()
        if args or kwds:
            made.update(*args, **kwds)
        return self._note(made)

    def list(self, *args: Any) -> Any:
        """A shared list with the contents of `list(*args)`."""
        if self._by_server():
            return _StandardSyncManager.list(self, *args)
        made = ListProxy()
        if args:
            made.extend(*args)
        return self._note(made)

    def Namespace(self, **kwds: Any) -> Any:
        """An object with shared attributes."""
        if self._by_server():
            return _StandardSyncManager.Namespace(self, **kwds)
        made = NamespaceProxy()
        if kwds:
            made._entries._set_all(kwds)
        return self._note(made)

    def Value(self, typecode: Any, value: Any, lock: Any = True) -> Any:
        """A shared value of any type; the type code is only shown."""
        if self._by_server():
            return _StandardSyncManager.Value(self, typecode, value, lock)
        return self._note(ValueProxy(typecode, value, lock))

    def Array(self, typecode: Any, sequence: Any, lock: Any = True) -> Any:
        """A shared array of the numbers of `sequence`."""
        if self._by_server():
            return _StandardSyncManager.Array(self, typecode, sequence, lock)
        return self._note(ArrayProxy(typecode, sequence, lock))

    def Queue(self, maxsize: int = 0) -> Any:
        """A shared queue, with `task_done` and `join`; unbounded if `maxsize` is not positive."""
        if self._by_server():
            return _StandardSyncManager.Queue(self, maxsize)
        return self._note(primitives.queue("Queue", maxsize))

    def JoinableQueue(self, maxsize: int = 0) -> Any:
        """The same as `Queue`."""
        if self._by_server():
            return _StandardSyncManager.JoinableQueue(self, maxsize)
        return self._note(primitives.queue("JoinableQueue", maxsize))

    def Lock(self) -> Any:
        """A shared lock."""
        if self._by_server():
            return _StandardSyncManager.Lock(self)
        return self._note(primitives.acquirer("Lock"))

    def RLock(self) -> Any:
        """A shared lock that its owner may acquire again."""
        if self._by_server():
            return _StandardSyncManager.RLock(self)
        return self._note(primitives.acquirer("RLock"))

    def Semaphore(self, value: int = 1) -> Any:
        """A shared semaphore that starts at `value`."""
        if self._by_server():
            return _StandardSyncManager.Semaphore(self, value)
        return self._note(primitives.acquirer("Semaphore", value))

    def BoundedSemaphore(self, value: int = 1) -> Any:
        """A shared semaphore that never exceeds `value`."""
        if self._by_server():
            return _StandardSyncManager.BoundedSemaphore(self, value)
        return self._note(primitives.acquirer("BoundedSemaphore", value))

    def Condition(self, lock: Any = None) -> Any:
        """A shared condition over `lock`, or over a new RLock."""
        if self._by_server():
            return _StandardSyncManager.Condition(self, *(() if lock is None else (lock,)))
        return self._note(primitives.condition(lock))

    def Event(self) -> Any:
        """A shared event that is not set."""
        if self._by_server():
            return _StandardSyncManager.Event(self)
        return self._note(primitives.event())

    def Barrier(self, parties: int, action: Any = None, timeout: float | None = None) -> Any:
        """A shared barrier for so many parties."""
        if self._by_server():
            return _StandardSyncManager.Barrier(self, parties, action, timeout)
        return self._note(primitives.barrier(parties, action, timeout))

    def Pool(self, *args: Any, **kwds: Any) -> Any:
        """A pool of processes, which other processes can use too: its owner is a server."""
        self._must_be_started()
        return _StandardSyncManager.Pool(self, *args, **kwds)


def _open_manager(cls: type[SyncManager], state: int) -> SyncManager:
    manager = cls()
    manager._state.value = state
    return manager
