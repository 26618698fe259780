"""Contexts and their start methods: template (the default), spawn, fork and forkserver.

Each is a subclass of the standard context of that name, so libraries that check find what they
expect. A factory imports the module of what it makes when it is first called.

Does not do: share the chosen start method with `multiprocessing`, unless `manyhands.install()` has
put these contexts there.
"""

from __future__ import annotations

import importlib
from multiprocessing import context as _standard_module
from typing import Any

from manyhands._drop_in.installer import is_installed

from .process import BaseProcess

_standard: Any = _standard_module


def _ours(module: str, name: str) -> Any:
    """The class or function `name` of our module of that name."""
    return getattr(importlib.import_module(f"manyhands.multiprocessing.{module}"), name)


class Factories:
    """What every context makes; the signatures are those of `multiprocessing`."""

    get_context: Any

    def Lock(self) -> Any:
        """A lock that processes share."""
        return _ours("synchronize", "Lock")(ctx=self.get_context())

    def RLock(self) -> Any:
        """A lock that its owner may acquire again."""
        return _ours("synchronize", "RLock")(ctx=self.get_context())

    def Condition(self, lock: Any = None) -> Any:
        """A condition over `lock`, or over a new RLock."""
        return _ours("synchronize", "Condition")(lock, ctx=self.get_context())

    def Semaphore(self, value: int = 1) -> Any:
        """A semaphore that starts at `value`."""
        return _ours("synchronize", "Semaphore")(value, ctx=self.get_context())

    def BoundedSemaphore(self, value: int = 1) -> Any:
        """A semaphore that never exceeds `value`."""
        return _ours("synchronize", "BoundedSemaphore")(value, ctx=self.get_context())

    def Event(self) -> Any:
        """An event that is not set."""
        return _ours("synchronize", "Event")(ctx=self.get_context())

    def Barrier(self, parties: int, action: Any = None, timeout: float | None = None) -> Any:
        """A barrier for so many parties."""
        return _ours("synchronize", "Barrier")(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize: int = 0) -> Any:
        """A queue between processes; unbounded if `maxsize` is not positive."""
        return _ours("queues", "Queue")(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize: int = 0) -> Any:
        """A queue with `task_done` and `join`."""
        return _ours("queues", "JoinableQueue")(maxsize, ctx=self.get_context())

    def SimpleQueue(self) -> Any:
        """A queue with nothing but `put`, `get`, `empty` and `close`."""
        return _ours("queues", "SimpleQueue")(ctx=self.get_context())

    def Pipe(self, duplex: bool = True) -> Any:
        """The two ends of a pipe; not duplex: (the one that receives, the one that sends)."""
        return _ours("connection", "Pipe")(duplex)

    def Pool(
        self,
        processes: int | None = None,
        initializer: Any = None,
        initargs: Any = (),
        maxtasksperchild: int | None = None,
    ) -> Any:
        """A pool of processes."""
        return _ours("pool", "Pool")(
            processes, initializer, initargs, maxtasksperchild, context=self.get_context()
        )

    def Manager(self) -> Any:
        """A manager of shared containers, started."""
        manager = _ours("managers", "SyncManager")(ctx=self.get_context())
        manager.start()
        return manager

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        """A shared ctypes object without a lock."""
        return _ours("sharedctypes", "RawValue")(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:
        """A shared ctypes array without a lock."""
        return _ours("sharedctypes", "RawArray")(typecode_or_type, size_or_initializer)

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        """A shared value, with a lock of its own unless `lock` says otherwise."""
        make = _ours("sharedctypes", "Value")
        return make(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
        """A shared array, with a lock of its own unless `lock` says otherwise."""
        make = _ours("sharedctypes", "Array")
        return make(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())

    def set_forkserver_preload(self, module_names: list[str]) -> None:
        """Names of modules that the template imports once, so that every process has them.

        Args:
            module_names: what to import; takes effect for processes started from now on.

        Raises:
            TypeError: they are not strings.
        """
        from .launching import set_preload

        set_preload(module_names)


class BaseContext(Factories, _standard.BaseContext):  # type: ignore[misc]
    """The factories, and which context belongs to which start method."""

    def get_context(self, method: str | None = None) -> Any:
        """The context for a start method; None: this one.

        Raises:
            ValueError: there is no such start method.
        """
        if method is None:
            return self
        try:
            return _concrete_contexts[method]
        except KeyError:
            names = ", ".join(_concrete_contexts)
            raise ValueError(f"cannot find context for {method!r}: use one of {names}") from None


class Process(BaseProcess):
    """A process of the default context's start method; see `manyhands._mp.process.BaseProcess`."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork() -> Any:
        return _default_context.get_context().Process._after_fork()


class TemplateProcess(BaseProcess):
    """A process forked from the template."""

    _method = "template"


class ForkServerProcess(BaseProcess):
    """A process forked from the template, under the standard start method's name."""

    _method = "forkserver"


class SpawnProcess(BaseProcess):
    """A process in a fresh interpreter."""

    _method = "spawn"


class ForkProcess(BaseProcess):
    """A process that is a copy of this one."""

    _method = "fork"


class TemplateContext(BaseContext):
    """Start method template: processes are forked from a clean process."""

    _name = "template"
    Process = TemplateProcess


class ForkContext(BaseContext, _standard.ForkContext):  # type: ignore[misc]
    """Start method fork: processes are copies of this one."""

    _name = "fork"
    Process = ForkProcess


class SpawnContext(BaseContext, _standard.SpawnContext):  # type: ignore[misc]
    """Start method spawn: each process is a fresh interpreter."""

    _name = "spawn"
    Process = SpawnProcess


class ForkServerContext(BaseContext, _standard.ForkServerContext):  # type: ignore[misc]
    """Start method forkserver: the same as template."""

    _name = "forkserver"
    Process = ForkServerProcess


class DefaultContext(BaseContext, _standard.DefaultContext):  # type: ignore[misc]
    """The context of the module's functions; its start method can be chosen once."""

    Process = Process
    _actual_context: Any

    def get_context(self, method: str | None = None) -> Any:
        """The context for a start method; None: the one that was chosen, or template."""
        if method is not None:
            return super().get_context(method)
        if self._actual_context is None:
            self._actual_context = self._default_context
        return self._actual_context

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Chooses how processes are started: template, spawn, fork or forkserver.

        Raises:
            RuntimeError: it has been chosen, or used, before; ``force=True`` allows it again.
            ValueError: there is no such start method.

        >>> DefaultContext(TemplateContext()).get_start_method()
        'template'
        """
        _standard.DefaultContext.set_start_method(self, method, force)

    def get_all_start_methods(self) -> list[str]:
        """The start methods, default first; with `manyhands.install()` by their standard names.

        >>> "spawn" in DefaultContext(TemplateContext()).get_all_start_methods()
        True
        """
        methods = list(_concrete_contexts)
        if is_installed():
            # Programs compare the list with the one they know; "forkserver" means the template too.
            methods.remove("template")
        return methods


_concrete_contexts: dict[str, Any] = {
    "template": TemplateContext(),
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}

_default_context: Any = DefaultContext(_concrete_contexts["template"])


def _force_start_method(method: str) -> None:
    _default_context._actual_context = _concrete_contexts[method]


for _class in (
    *(BaseContext, DefaultContext, TemplateContext, ForkContext, SpawnContext, ForkServerContext),
    *(Process, TemplateProcess, ForkProcess, SpawnProcess, ForkServerProcess),
):
    _class.__module__ = "manyhands.multiprocessing.context"
del _class
