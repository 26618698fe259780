"""`multiprocessing.reduction` under our name: how multiprocessing pickles.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.reduction as _standard
from multiprocessing.reduction import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
