"""`multiprocessing.managers` on the family heap: shared dicts, lists… without a server process.

Mirrors https://docs.python.org/3/library/multiprocessing.html#managers; docs/managers.md has the
differences. `BaseManager`, `BaseProxy`, `SharedMemoryManager` and what else is not listed below are
the standard module's own.

>>> from manyhands.multiprocessing.managers import SyncManager
>>> with SyncManager() as manager:
...     print(manager.list([1, 2]))
[1, 2]
"""

from multiprocessing import managers as _standard
from multiprocessing.managers import BaseManager, BaseProxy, SharedMemoryManager, Token

from manyhands._mp.managed.containers import DictProxy, ListProxy
from manyhands._mp.managed.managers import SyncManager
from manyhands._mp.managed.primitives import (
    AcquirerProxy,
    BarrierProxy,
    ConditionProxy,
    EventProxy,
    QueueProxy,
)
from manyhands._mp.managed.values import ArrayProxy, NamespaceProxy, ValueProxy

__all__ = ["BaseManager", "BaseProxy", "SharedMemoryManager", "SyncManager", "Token"]

for _public in (
    AcquirerProxy,
    ArrayProxy,
    BarrierProxy,
    ConditionProxy,
    DictProxy,
    EventProxy,
    ListProxy,
    NamespaceProxy,
    QueueProxy,
    SyncManager,
    ValueProxy,
):
    _public.__module__ = __name__

globals().update(
    (name, value)
    for name, value in vars(_standard).items()
    if name not in globals() and not name.startswith("__")
)
