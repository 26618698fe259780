"""`multiprocessing.spawn` under our name: what a spawned child of the standard module does.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.spawn as _standard
from multiprocessing.spawn import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
