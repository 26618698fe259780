"""`multiprocessing.resource_sharer` under our name: descriptors handed to processes that ask.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.resource_sharer as _standard
from multiprocessing.resource_sharer import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
