"""Tasks that take from their worker what the next task needs: builtins, or how it is stopped."""

import builtins
import ctypes
import gettext
import os
import signal
import time

from manyhands import Cancelled


def delete_a_builtin(name):
    """Delete it and end well; what is done between the deletion and the end may need it."""
    delattr(builtins, name)


def replace_a_builtin(name, value):
    setattr(builtins, name, value)


def empty_the_builtins():
    vars(builtins).clear()


def delete_and_fail(name):
    delattr(builtins, name)
    raise ValueError(name)


class DeletesWhenSent:
    """Does its harm while the result is pickled."""

    def __reduce__(self):
        delattr(builtins, "len")
        return str, ("sent",)


def give_what_deletes():
    return DeletesWhenSent()


def install_translations():
    gettext.NullTranslations().install(["ngettext"])
    return sorted({"_", "ngettext"} & set(vars(builtins)))


def builtins_as_ever():
    """Whether some builtins are what a literal of the language says they are."""
    return (
        len([1, 2]) == 2
        and isinstance(1, int)
        and type([]) is list
        and str(1) == "1"
        and __import__("os") is os
        and issubclass(ZeroDivisionError, Exception)
    )


def added_builtins():
    return [name for name in ("_", "ngettext") if name in vars(builtins)]


def replace_interrupt_handler(kind):
    if kind == "python":
        signal.signal(signal.SIGINT, lambda *_: None)
    elif kind == "ignored":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    elif kind == "default":
        signal.signal(signal.SIGINT, signal.default_int_handler)
    elif kind == "blocked":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    else:
        libc = ctypes.CDLL(None)
        libc.signal.restype = ctypes.c_void_p
        libc.signal.argtypes = ctypes.c_int, ctypes.c_void_p
        libc.signal(signal.SIGINT, 1)
    return os.getpid()


def replace_other_handler():
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def other_handler():
    return signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN


def wait_to_be_stopped(started, stopped):
    """Say that it runs, and then that `Cancelled` has come."""
    # In the try from its first moment: who sees the file may stop us at once.
    try:
        os.close(os.open(started, os.O_CREAT | os.O_WRONLY))
        while True:
            time.sleep(0.01)
    except Cancelled:
        with open(stopped, "w", encoding="utf-8") as file:
            file.write(str(os.getpid()))
        raise
