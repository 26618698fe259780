"""Tasks that do to a worker what real programs do to workers.

Module-level functions, so that every start method and the standard library can run them too.
"""

import ctypes
import faulthandler
import os
import pathlib
import signal
import sys
import threading
import time


def identity(value):
    return value


def square(number):
    return number * number


def nothing():
    pass


def pid_of_worker(*_):
    return os.getpid()


def nap(seconds):
    """Sleep where a Python signal handler may end it."""
    time.sleep(seconds)
    return os.getpid()


def hold_until(path):
    """Keep the worker busy until somebody makes the file."""
    while not os.path.exists(path):
        time.sleep(0.001)
    return True


def spin_in_c():
    """Compute in C for hours, with the GIL and without a look at signals."""
    return sum(range(10**13))


def spin_in_python():
    """Compute in Python for ever."""
    while True:
        pass


def mark_and_nap(path, text, seconds):
    """Leave a mark that the task has started, then sleep."""
    leave_mark(path, text)
    time.sleep(seconds)
    return text


def leave_mark(path, text):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)
    return text


def die_by(signal_number):
    os.kill(os.getpid(), signal_number)
    time.sleep(60)


def die_by_os_exit(status):
    os._exit(status)


def die_by_segfault():
    ctypes.string_at(0)


def die_by_abort():
    faulthandler._sigabrt()


def die_by_stack_overflow():
    faulthandler._stack_overflow()


def call_sys_exit(status):
    sys.exit(status)


def raise_error(error_type, *arguments):
    raise error_type(*arguments)


def close_all_descriptors():
    os.closerange(0, 65536)
    return os.getpid()


def change_directory(path):
    os.chdir(path)
    return str(pathlib.Path.cwd())


def ignore_signals_and_nap(path, seconds):
    """Refuse every polite request to end, then sleep."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    leave_mark(path, os.getpid())
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            time.sleep(deadline - time.monotonic())
        except BaseException:
            continue


def replace_signal_handlers():
    """Install handlers for what a library might use itself, and put them in force."""
    seen = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, lambda *arguments: seen.append(arguments))
    return os.getpid()


def start_endless_thread():
    """Leave a non-daemon thread behind that never ends."""
    threading.Thread(target=time.sleep, args=(10_000,), name="left behind").start()
    return os.getpid()


def daemonise_child(seconds):
    """Leave a grandchild in its own session that keeps every descriptor it inherited."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        grandchild = os.fork()
        if grandchild:
            os.write(writer, str(grandchild).encode())
            os._exit(0)
        time.sleep(seconds)
        os._exit(0)
    os.waitpid(child, 0)
    grandchild = int(os.read(reader, 32))
    os.close(reader)
    os.close(writer)
    return os.getpid(), grandchild


def return_twice():
    """Fork, and return from the task in both processes."""
    parent = os.getpid()
    os.fork()
    return "worker" if os.getpid() == parent else "copy"


def make_bytes(n_bytes):
    return bytes(n_bytes)


def length_of(payload):
    return len(payload)


def raise_after_mark(path):
    """An initializer that says that it ran, and fails."""
    leave_mark(path, "initializer")
    raise ValueError("the initializer does not like this machine")


def exit_after_mark(path):
    """An initializer that says that it ran, and takes the worker with it."""
    leave_mark(path, "initializer")
    os._exit(7)


def hang_after_mark(path):
    """An initializer that says that it ran, and never returns."""
    leave_mark(path, "initializer")
    time.sleep(10_000)
