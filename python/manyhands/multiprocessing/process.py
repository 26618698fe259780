"""The class of processes, and the processes related to this one.

Mirrors `multiprocessing.process`; see `manyhands._mp.process`.
"""

import multiprocessing.process as _standard
from multiprocessing.process import active_children, current_process, parent_process

from manyhands._mp.process import BaseProcess

__all__ = ["BaseProcess", "active_children", "current_process", "parent_process"]


def __getattr__(name: str) -> object:
    # Its variables change as processes start: they stay the standard module's.
    value: object = getattr(_standard, name)
    return value
