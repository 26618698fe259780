"""What the processes of the shared locks' tests run: importable under every start method."""

import os
import signal
import time


def count_under(lock, counter, n_rounds):
    for _ in range(n_rounds):
        with lock:
            counter.value = counter.value + 1


def acquire_and_tell(lock, taken, go):
    lock.acquire()
    taken.set()
    go.wait()
    lock.release()


def die_with(lock):
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def wait_in(condition, sleeping, woken):
    with condition:
        sleeping.release()
        condition.wait()
    woken.release()


def pass_barrier(barrier, n_rounds, indices):
    for round_ in range(n_rounds):
        idx = barrier.wait()
        with indices.get_lock():
            indices[round_] += idx + 1


def set_after(event, go):
    go.wait()
    event.set()


def wait_and_die_in(barrier):
    barrier.wait()


def take_both(first, second, has_first, go):
    """Exit status 0: had both; 3: was told of a deadlock."""
    from manyhands.threading import DeadlockError

    try:
        with first:
            has_first.release()
            go.wait()
            with second:
                pass
    except DeadlockError as error:
        says = all(words in str(error) for words in ("2 threads of 2 processes", "lock_roles.py"))
        raise SystemExit(3 if says else f"a strange report: {error}") from None


def sleep_long():
    time.sleep(600)
