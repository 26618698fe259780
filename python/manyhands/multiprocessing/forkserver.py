"""`multiprocessing.forkserver` under our name: the standard start method's server.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.forkserver as _standard
from multiprocessing.forkserver import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
