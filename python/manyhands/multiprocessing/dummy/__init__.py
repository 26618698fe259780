"""`multiprocessing.dummy` under our name: the interface of processes, over threads.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.dummy as _standard
from multiprocessing.dummy import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
