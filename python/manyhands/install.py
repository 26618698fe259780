"""The drop-in: ours under the names of the standard modules, for a whole program.

`install()` makes the executors of `concurrent.futures`, the threads and locks of `threading`, the
queues of `queue` and the processes and shared objects of `multiprocessing` ours; `uninstall()` puts
the standard ones back. What is replaced, and what is not, stands in ``docs/drop-in.md``.
"""

from manyhands._drop_in.installer import install, is_installed, uninstall

__all__ = ["install", "is_installed", "uninstall"]
