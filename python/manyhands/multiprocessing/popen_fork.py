"""`multiprocessing.popen_fork` under our name: how the standard module starts children.

Everything here is the standard module's; nothing is reimplemented.
"""

import multiprocessing.popen_fork as _standard
from multiprocessing.popen_fork import *


def __getattr__(name: str) -> object:
    value: object = getattr(_standard, name)
    return value
