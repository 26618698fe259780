"""Functions and classes that a worker imports by name in the tests."""

import os

from manyhands._pickling import codec


class OnlyThereError(Exception):
    def __reduce__(self):
        return only_in, (os.getpid(),)


def only_in(pid):
    if pid != os.getpid():
        raise ZeroDivisionError("another process")
    return OnlyThereError("x")


def fail_only_there():
    raise OnlyThereError("x")


def install(*objects):
    import builtins

    builtins.shared = objects


def use():
    import builtins

    queue, lock, value, conn = builtins.shared
    with lock:
        value.value += 1
    queue.put("from worker")
    conn.send("through the pipe")
    queue.close()
    queue.join_thread()


def run_initializer(data):
    initializer, initargs = codec.loads(data)
    initializer(*initargs)


def flood():
    for _ in range(2000):
        print("x" * 4000)
