"""Tasks that watch whether their worker keeps anything alive after they ended.

The watched references live in the worker, in `WATCHED`, so the tests use one worker.
"""

import gc
import weakref

WATCHED = []


class Kept:
    """Something that can be watched to its end."""


def forget():
    WATCHED.clear()


def take(_):
    pass


def watch_argument(argument):
    WATCHED.append(weakref.ref(argument))


def watch_result():
    result = Kept()
    WATCHED.append(weakref.ref(result))
    return result


def watch_error():
    local = Kept()
    WATCHED.append(weakref.ref(local))
    raise ValueError("its traceback sees `local`")


def n_still_alive():
    gc.collect()
    assert WATCHED, "nothing was watched: the test looks at the wrong worker"
    return sum(reference() is not None for reference in WATCHED)
