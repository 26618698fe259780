"""`multiprocessing.dummy` under our name: the interface of processes, over threads.

`Pool` is our `ThreadPool`; everything else is the standard module's.
"""

import multiprocessing.dummy as _standard
from collections.abc import Callable, Iterable
from multiprocessing.dummy import *
from typing import Any


def Pool(  # type: ignore[no-redef]  # the one just imported is not ours
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
) -> Any:
    """A pool of threads; see `manyhands.multiprocessing.pool.ThreadPool`."""
    from manyhands.multiprocessing.pool import ThreadPool

    return ThreadPool(processes, initializer, initargs)


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
