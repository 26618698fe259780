"""`multiprocessing.dummy.connection` under our name: pipes between threads.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.dummy.connection as _standard
from multiprocessing.dummy.connection import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
