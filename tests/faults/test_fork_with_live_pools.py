"""os.fork() in a program with live pools: the child is clear, the parent is unharmed.

A pool belongs to the process that made it.  In a forked child it says so, or works; it never hangs,
never takes a task from the parent, and never ends the parent's workers when the child exits.
"""

import pytest

pytestmark = [
    pytest.mark.timeout(120),
    # Forking with threads alive is the subject; Python 3.12 and later warn of it.
    pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning"),
]

PROGRAM = """
import logging, os, sys, threading, time, warnings
import hostile_tasks as tasks
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor
warnings.simplefilter("ignore", DeprecationWarning)

def in_child(work, leave=os._exit):
    pid = os.fork()
    if pid == 0:
        try:
            status = work() or 0
        except BaseException as error:
            print(f"child: {{error!r}}", file=sys.stderr, flush=True)
            status = 99
        leave(status)
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            sys.exit("the forked child hangs")
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(ended[1])

{body}
"""


@pytest.mark.parametrize("kind", ["Process", "Thread"])
@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
def test_the_parents_pool_is_unharmed_by_a_child_that_ends(run, kind, leave):
    finished = run(
        PROGRAM.format(
            body=f"""
with {kind}PoolExecutor(max_workers=2) as executor:
    assert executor.submit(tasks.square, 3).result(60) == 9
    running = [executor.submit(tasks.nap, 0.3) for _ in range(6)]
    me = os.getpid()
    for _ in range(10):
        status = in_child(lambda: 0, {leave})
        if os.getpid() != me: break
        assert status == 0, status
    assert all(future.result(60) for future in running)
    assert list(executor.map(tasks.square, range(20))) == [n * n for n in range(20)]
print("done")
"""
        )
    )
    assert (finished.status, finished.out) == (0, "done\n"), finished.err


@pytest.mark.parametrize("kind", ["Process", "Thread"])
def test_an_inherited_pool_works_or_says_why_not_in_a_forked_child(run, kind):
    finished = run(
        PROGRAM.format(
            body=f"""
def use_inherited():
    try:
        future = executor.submit(tasks.square, 5)
    except RuntimeError as error:
        assert "fork" in str(error), error
        return 0
    assert future.result(20) == 25
    return 0

with {kind}PoolExecutor(max_workers=2) as executor:
    assert executor.submit(tasks.square, 3).result(60) == 9
    assert in_child(use_inherited) == 0
    assert executor.submit(tasks.square, 4).result(60) == 16
print("done")
"""
        )
    )
    assert (finished.status, finished.out) == (0, "done\n"), finished.err


@pytest.mark.parametrize("kind", ["Process", "Thread"])
def test_a_pending_future_does_not_hang_in_a_forked_child(run, kind):
    finished = run(
        PROGRAM.format(
            body=f"""
def wait_for_inherited():
    try:
        running.result(timeout=1)
    except Exception:
        return 0
    return 5

def read_done():
    return 0 if done.result(1) == 9 else 6

with {kind}PoolExecutor(max_workers=2) as executor:
    done = executor.submit(tasks.square, 3)
    done.result(60)
    running = executor.submit(tasks.nap, 3)
    assert in_child(read_done) == 0
    assert in_child(wait_for_inherited) == 0
    running.result(60)
print("done")
"""
        )
    )
    assert (finished.status, finished.out) == (0, "done\n"), finished.err


@pytest.mark.parametrize("kind", ["Process", "Thread"])
def test_a_forked_child_can_make_a_pool_of_its_own(run, kind):
    finished = run(
        PROGRAM.format(
            body=f"""
def make_own():
    with {kind}PoolExecutor(max_workers=2) as own:
        assert list(own.map(tasks.square, range(30), timeout=25)) == [n * n for n in range(30)]
        # Its workers are its own, not the parent's.
        if {kind!r} == "Process":
            assert not set(own._processes) & parents_workers
    return 0

with {kind}PoolExecutor(max_workers=2) as executor:
    assert executor.submit(tasks.square, 3).result(60) == 9
    parents_workers = set(getattr(executor, "_processes", ()))
    for _ in range(3):
        assert in_child(make_own) == 0
        assert executor.submit(tasks.square, 4).result(60) == 16
print("done")
"""
        )
    )
    assert (finished.status, finished.out) == (0, "done\n"), finished.err


def test_forking_while_other_threads_use_the_pool_never_hangs_the_child(run):
    finished = run(
        PROGRAM.format(
            body="""
stop = threading.Event()

def use(executor):
    while not stop.is_set():
        futures = [executor.submit(tasks.square, 3) for _ in range(20)]
        assert [future.result(60) for future in futures] == [9] * 20

def make_own():
    with ProcessPoolExecutor(max_workers=1) as own:
        assert own.submit(tasks.square, 7).result(25) == 49
    with ThreadPoolExecutor(max_workers=1) as own:
        assert own.submit(tasks.square, 7).result(25) == 49
    return 0

with ProcessPoolExecutor(max_workers=2) as processes, ThreadPoolExecutor(max_workers=2) as threads:
    users = [threading.Thread(target=use, args=(pool,)) for pool in (processes, threads) * 2]
    for user in users: user.start()
    try:
        statuses = [in_child(make_own) for _ in range(20)]
    finally:
        stop.set()
        for user in users: user.join()
assert statuses == [0] * 20, statuses
print("done")
"""
        ),
        timeout_seconds=110,
    )
    assert (finished.status, finished.out) == (0, "done\n"), finished.err


# In a forked child CPython makes the locks of logging whole again, but not those of buffered files:
# a worker that logs to one whose lock was held during the fork hangs, which is why "fork" is not
# the default. What a fork can stand, the allocator's locks, it has to stand with us too.
@pytest.mark.parametrize(
    ("context", "holds_a_lock"),
    [
        ("None", "logging.getLogger().warning('a line')"),
        ("None", "sys.stderr.write('x'); sys.stderr.flush()"),
        ("multiprocessing.get_context('fork')", "[bytes(n) for n in range(0, 1 << 16, 999)]"),
    ],
    ids=["template, logging", "template, buffered file", "fork, allocator"],
)
def test_workers_that_start_while_other_threads_hold_locks_do_not_hang(run, context, holds_a_lock):
    finished = run(
        PROGRAM.format(
            body=f"""
import multiprocessing
stop = threading.Event()

def hold_locks():
    while not stop.is_set():
        {holds_a_lock}

def log_in_worker(number):
    logging.getLogger().warning("worker line")
    sys.stderr.flush()
    return number

logging.basicConfig(filename=os.devnull)
holders = [threading.Thread(target=hold_locks, daemon=True) for _ in range(2)]
for thread in holders: thread.start()
for _ in range(10):
    with ProcessPoolExecutor(2, mp_context={context}) as executor:
        # One after the other, so that workers are also started on demand, late.
        for number in range(4):
            assert executor.submit(log_in_worker, number).result(30) == number
stop.set()
print("done")
"""
        ),
        timeout_seconds=110,
    )
    assert (finished.status, finished.out) == (0, "done\n"), finished.err[-2000:]


def test_a_child_that_outlives_its_parent_does_not_keep_the_parents_workers_alive(run):
    finished = run(
        PROGRAM.format(
            body="""
import family_watch
reader, writer = os.pipe()
executor = ProcessPoolExecutor(max_workers=2)
assert executor.submit(tasks.square, 3).result(60) == 9
workers = list(executor._processes)
middle = os.fork()
if middle == 0:
    # This process plays the parent of the pool's copy; its child outlives it.
    os._exit(0)
os.waitpid(middle, 0)
assert all(family_watch.is_alive(pid) for pid in workers)
executor.shutdown()
for pid in workers:
    family_watch.wait_until_dead(pid)
print("done")
"""
        )
    )
    assert (finished.status, finished.out) == (0, "done\n"), finished.err
