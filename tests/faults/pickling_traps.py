"""Objects that misbehave while they are pickled or unpickled, and errors that cannot travel.

Module-level classes: pickle finds them by name in the worker as in the parent.
"""

import os
import threading
import time


class HasLock:
    def __init__(self):
        self.number = 1
        self.lock = threading.Lock()


class Nested:
    def __init__(self):
        self.parts = {"inner": HasLock()}


class ReduceRaises:
    def __reduce__(self):
        raise ZeroDivisionError("this object does not want to be pickled")


class ReduceNeverReturns:
    def __reduce__(self):
        while True:
            time.sleep(0.01)


class ReduceExits:
    def __reduce__(self):
        os._exit(5)


def _refuse(text):
    raise ZeroDivisionError(text)


def _hang():
    while True:
        time.sleep(0.01)


class UnpickleRaises:
    def __reduce__(self):
        return _refuse, ("this object does not want to be unpickled",)


class UnpickleExits:
    def __reduce__(self):
        return os._exit, (6,)


class UnpickleHangs:
    def __reduce__(self):
        return _hang, ()


class LockInsideError(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class TwoArgumentsError(Exception):
    """Pickles, and cannot be unpickled: its constructor wants what `args` does not have."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


class KeywordError(Exception):
    def __init__(self, *, reason):
        super().__init__()
        self.reason = reason


def give(kind, *arguments):
    """Make an object of `kind` in the worker, where it has to be pickled as a result."""
    return kind(*arguments)


def raise_it(kind, *arguments, **keywords):
    raise kind(*arguments, **keywords)


def raise_with_cause():
    try:
        raise KeyError("inner")
    except KeyError as inner:
        raise LockInsideError("outer") from inner
