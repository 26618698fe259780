"""`multiprocessing.pool` under our name: ``Pool`` and ``ThreadPool`` over our executors.

Mirrors https://docs.python.org/3/library/multiprocessing.html#module-multiprocessing.pool.
Differences: docs/pools.md.

>>> from manyhands.multiprocessing.pool import Pool
>>> with Pool(2) as pool:
...     pool.map(abs, [-1, -2])
[1, 2]
"""

from manyhands._mp.pools.imap import IMapIterator, IMapUnorderedIterator
from manyhands._mp.pools.pool import (
    CLOSE,
    INIT,
    RUN,
    TERMINATE,
    ExceptionWithTraceback,
    MaybeEncodingError,
    Pool,
    RemoteTraceback,
    ThreadPool,
    mapstar,
    rebuild_exc,
    starmapstar,
)
from manyhands._mp.pools.results import ApplyResult, AsyncResult, MapResult, PoolTerminated

__all__ = [
    "CLOSE",
    "INIT",
    "RUN",
    "TERMINATE",
    "ApplyResult",
    "AsyncResult",
    "ExceptionWithTraceback",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "MaybeEncodingError",
    "Pool",
    "PoolTerminated",
    "RemoteTraceback",
    "ThreadPool",
    "mapstar",
    "rebuild_exc",
    "starmapstar",
]
