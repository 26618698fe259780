"""Processes that wait for each other's locks are told; processes that do not are never told so."""

import contextlib
import threading
import time

import lock_roles
import pytest
from manyhands import multiprocessing
from manyhands.multiprocessing.synchronize import Lock, RLock, Semaphore
from manyhands.threading import DeadlockError


@pytest.fixture(params=[Lock, RLock])
def make(request):
    return request.param


def test_of_two_processes_with_two_locks_one_is_told(make, context):
    first, second = make(name="first"), make(name="second")
    has, go = context.Semaphore(0), context.Event()
    processes = [
        context.Process(target=lock_roles.take_both, args=(*locks, has, go), name=f"taker {idx}")
        for idx, locks in enumerate([(first, second), (second, first)])
    ]
    for process in processes:
        process.start()
    has.acquire()
    has.acquire()
    go.set()
    for process in processes:
        process.join()
    assert sorted(process.exitcode for process in processes) == [0, 3]


def test_the_report_names_processes_locks_and_places(fork):
    first, second = Lock(name="first"), Lock(name="second")
    has, go = multiprocessing.Semaphore(0), multiprocessing.Event()

    def other():
        with contextlib.suppress(DeadlockError), second:
            has.release()
            go.wait()
            with first:
                pass
            raise SystemExit("it was not told")

    with first:
        # Who is told is who joined the family last.
        pid = fork(other)
        has.acquire()
        go.set()
        with second:
            pass
    assert fork.reap(pid) == 0


def test_a_cycle_of_three_processes_is_found(fork):
    locks = [Lock() for _ in range(3)]
    has, go = multiprocessing.Semaphore(0), multiprocessing.Event()
    told = multiprocessing.Semaphore(0)

    def take(idx):
        try:
            with locks[idx]:
                has.release()
                go.wait()
                with locks[(idx + 1) % 3]:
                    pass
        except DeadlockError as error:
            if "3 threads of 3 processes" in str(error):
                told.release()

    for idx in range(3):
        fork(take, idx)
    for _ in range(3):
        has.acquire()
    go.set()
    assert told.acquire(timeout=60)


def test_threads_of_one_process_count_too(start, make):
    first, second, has, go = make(), make(), Semaphore(0), threading.Event()

    def take(one, other):
        try:
            with one:
                has.release()
                go.wait()
                with other:
                    return None
        except DeadlockError as error:
            return str(error)

    both = [start(take, first, second), start(take, second, first)]
    has.acquire()
    has.acquire()
    go.set()
    reports = [each.result() for each in both]
    assert sum(report is not None for report in reports) == 1
    assert "2 threads wait for each other" in next(filter(None, reports))


def test_one_thread_that_takes_a_lock_twice_is_told():
    lock = Lock(name="once")
    with lock, pytest.raises(DeadlockError, match="a thread waits for itself"):
        lock.acquire()
    assert not lock.locked()


QUIET = """
import os, sys, time
from manyhands import multiprocessing
from manyhands.multiprocessing.synchronize import Lock, RLock, Semaphore
from manyhands.threading import DeadlockError

first, second = Lock(name="first"), Lock(name="second")
has, done = Semaphore(0), Semaphore(0)
pid = os.fork()
one, other = (first, second) if pid else (second, first)
status = 0
def meet():
    has.release(); has.release()
    while has.get_value() < 4: pass
{body}
if not pid:
    os._exit(status)
_, code = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(code))
"""


def test_bare_acquisitions_are_only_suspected(program):
    ended = program(
        QUIET.format(
            body="""
one.acquire(); meet()
if pid:
    # Whoever likes may release a Lock.
    import threading
    threading.Timer(2.0, lambda: (first.release())).start()
    other.acquire()
else:
    other.acquire()
    second.release()
"""
        )
    )
    assert ended.status == 0, ended.err
    assert "unless somebody else releases one" in ended.err
    assert ended.err.count("manyhands:") == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            "with one:\n  meet()\n  while other.acquire(timeout=0.4): other.release(); break",
            id="timed waits end by themselves",
        ),
        pytest.param(
            "one.acquire(); one.release()\nwith first:\n  time.sleep(0.4)\n  with second: pass",
            id="one order",
        ),
        pytest.param(
            "for _ in range(300):\n  with first:\n    with second: time.sleep(0.001)",
            id="one order, busy",
        ),
        pytest.param(
            "lock = Semaphore(1)\nwith one:\n  meet()\n  lock.acquire(); time.sleep(0.5)",
            id="a semaphore",
        ),
    ],
)
def test_waits_that_end_are_no_deadlock(body, program):
    ended = program(QUIET.format(body=body))
    assert ended.status == 0, ended.err
    assert ended.err == ""


def test_a_process_that_died_in_a_cycle_is_no_part_of_one(program):
    ended = program(
        """
import os, signal, time, warnings
from manyhands.multiprocessing.synchronize import Lock, Semaphore
warnings.simplefilter("ignore")
first, second, has = Lock(), Lock(), Semaphore(0)
pid = os.fork()
if not pid:
    second.__enter__(); has.release(); time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)
with first:
    has.acquire()
    with second: pass
os.waitpid(pid, 0)
"""
    )
    assert (ended.status, ended.err) == (0, "")


def test_a_report_is_printed_if_that_is_the_mode(program):
    ended = program(
        QUIET.format(
            body="""
one.__enter__(); meet()
if pid:
    other.acquire(timeout=5)
    import threading
    threading.Timer(2.0, second.release).start()
    other.acquire()
    first.release()
else:
    other.acquire()
    first.release()
    if second.locked(): second.release()
"""
        ).replace("other.acquire(timeout=5)", "pass"),
        MANYHANDS_DEADLOCK="report",
    )
    assert "2 threads of 2 processes wait for each other's locks" in ended.err


def test_nobody_looks_if_it_is_off(program):
    ended = program(
        QUIET.format(
            body="""
one.__enter__(); meet()
if pid:
    import threading
    threading.Timer(1.5, second.release).start()
    other.acquire()
    first.release()
else:
    other.acquire()
    first.release()
"""
        ),
        MANYHANDS_DEADLOCK="off",
    )
    assert ended.err == ""


def test_many_processes_that_take_two_locks_in_one_order_are_never_told(fork):
    locks = [RLock() for _ in range(4)]
    end = time.monotonic() + 3

    def take(seed):
        import random

        chance = random.Random(seed)
        while time.monotonic() < end:
            low, high = sorted(chance.sample(range(4), 2))
            with locks[low], locks[high]:
                time.sleep(chance.choice([0, 0, 0.15]))

    for seed in range(6):
        fork(take, seed)
