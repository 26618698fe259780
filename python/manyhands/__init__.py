"""Threads, locks, queues, processes, shared state and pools, as a drop-in for the standard ones.

`manyhands.futures`, `manyhands.threading`, `manyhands.queue` and `manyhands.multiprocessing` have
the names of the standard modules, for work that can be stopped, workers that may die and waits that
tell when they can never end. `install()` puts them under the standard names for a whole program,
`manyhands run script.py` does so for a program that nobody touched.

>>> from manyhands.futures import ThreadPoolExecutor
>>> with ThreadPoolExecutor(max_workers=2) as cooks:
...     list(cooks.map(abs, [-1, -2, -3]))
[1, 2, 3]

Importing this package is cheap: nothing of `concurrent.futures`, `multiprocessing` or the compiled
runtime is loaded before it is used.
"""

from manyhands.install import install, is_installed, uninstall

__all__ = [
    "Cancelled",
    "RemoteError",
    "UnpicklableResult",
    "WorkerCrashed",
    "__version__",
    "install",
    "is_installed",
    "shared_array",
    "uninstall",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from manyhands._errors.pools import Cancelled, RemoteError, UnpicklableResult, WorkerCrashed
    from manyhands._mp.sharing.shared_array import shared_array

    __version__: str


def __getattr__(name: str) -> object:
    """Supplies the rest on first use (PEP 562)."""
    value: object
    if name in ("Cancelled", "RemoteError", "UnpicklableResult", "WorkerCrashed"):
        from manyhands._errors import pools

        value = getattr(pools, name)
    elif name == "shared_array":
        from manyhands._mp.sharing.shared_array import shared_array

        value = shared_array
    elif name == "__version__":
        from importlib.metadata import version

        value = version("manyhands")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
