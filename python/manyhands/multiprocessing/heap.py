"""`multiprocessing.heap` under our name: the arenas of the standard shared values.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.heap as _standard
from multiprocessing.heap import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
