"""What the tests of pools have their workers do; importable by workers."""

import os
import sys
import threading
import time


def square(number):
    return number * number


def fail(number):
    raise KeyError(number)


def fail_at_three(number):
    if number == 3:
        raise LookupError(number)
    return number


def die_at_three(number):
    if number == 3:
        os._exit(9)
    return number


def pid(_=None):
    return os.getpid()


def make_lambda():
    return lambda: 42


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("cannot pickle")


def make_unpicklable(_=None):
    return Unpicklable()


def leave(status):
    raise SystemExit(status)


def remember(value):
    """As initializer: keep a value for `remembered`."""
    global kept
    kept = value


def remembered(_=None):
    return kept


def refuse(*_):
    raise ValueError("no worker today")


def raising_input(n_items, error_at):
    for number in range(n_items):
        if number == error_at:
            raise LookupError("the input is broken")
        yield number


def thread_name(_=None):
    time.sleep(0.001)
    return threading.current_thread().name


def who(_=None):
    from multiprocessing import current_process

    me = current_process()
    return me.name, me.daemon, me._identity


def nested_map(number):
    from manyhands.multiprocessing import Pool

    with Pool(1) as pool:
        return sum(pool.map(square, range(number)))


def has_module(name):
    return name in sys.modules
