"""`multiprocessing.resource_tracker` under our name: who unlinks what has a name.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.resource_tracker as _standard
from multiprocessing.resource_tracker import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
