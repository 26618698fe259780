"""`multiprocessing.util` under our name: logging, finalizers and other inner parts.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.util as _standard
from multiprocessing.util import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
