"""The end of the interpreter with threads blocked everywhere, and forks while locks are held."""

import pytest

PROLOGUE = """
import gc, os, sys, time, warnings, weakref
import threading as standard
from manyhands import threading
from manyhands.threading import *
warnings.simplefilter("ignore", DeprecationWarning)  # Forking with threads is the subject.

lock, rlock, semaphore, event = Lock(), RLock(), Semaphore(0), Event()
condition, barrier, rwlock = Condition(), Barrier(2), RwLock()
lock.acquire(); rlock.acquire(); rwlock.acquire_write()

def in_condition():
    with condition:
        condition.wait()

WAITS = [
    lock.acquire, rlock.acquire, semaphore.acquire, event.wait, in_condition, barrier.wait,
    rwlock.acquire_read, rwlock.acquire_write,
    lambda: lock.acquire(timeout=300), lambda: rlock.acquire(timeout=300),
    lambda: semaphore.acquire(timeout=300), lambda: event.wait(300),
]

def start_waits(kind, daemon):
    before = len(os.listdir("/proc/self/task"))
    entered = []
    def wait(work):
        entered.append(1)
        work()
    for work in WAITS:
        kind(target=wait, args=(work,), daemon=daemon).start()
    while len(entered) < len(WAITS):
        time.sleep(0.001)

def in_child(work):
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work() or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(status)
    deadline = time.monotonic() + 40
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            sys.exit("the forked child hangs")
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(ended[1])

def use_everything():
    with Lock(), RLock(), Semaphore(), BoundedSemaphore(), Condition(), RwLock().write():
        pass
    done = Event()
    meeting = Barrier(3)
    mine, permits, counted = Lock(), Semaphore(2), [0]
    def work():
        meeting.wait()
        for _ in range(200):
            with permits, mine:
                counted[0] += 1
        meeting.wait()
        done.wait()
    threads = [standard.Thread(target=work) for _ in range(3)]
    for thread in threads: thread.start()
    done.set()
    for thread in threads: thread.join()
    assert counted == [600]
"""


@pytest.mark.parametrize("kind", ["standard.Thread", "Thread"])
@pytest.mark.parametrize("mode", ["raise", "off"])
@pytest.mark.parametrize("pause", ["", "time.sleep(0.3)"], ids=["at once", "later"])
def test_daemon_threads_that_are_blocked_everywhere_do_not_hold_the_program(
    kind, mode, pause, program
):
    ended = program(
        PROLOGUE + f"start_waits({kind}, daemon=True)\n{pause}\nprint('end')",
        MANYHANDS_DEADLOCK=mode,
    )
    assert (ended.status, ended.out, ended.err) == (0, "end\n", "")


def test_the_program_may_end_by_an_error_while_daemon_threads_are_blocked(program):
    ended = program(PROLOGUE + "start_waits(Thread, daemon=True)\nraise SystemExit(7)")
    assert (ended.status, ended.err) == (7, "")


def test_non_daemon_threads_are_waited_for_and_may_be_woken_at_the_end(program):
    ended = program(
        PROLOGUE
        + """
late = Event()
standard.Thread(target=lambda: (late.wait(), print("woken", flush=True))).start()
def wake():
    standard.main_thread().join()
    time.sleep(0.3)
    late.set()
standard.Thread(target=wake).start()
"""
    )
    assert (ended.status, ended.out, ended.err) == (0, "woken\n", "")


def test_primitives_work_in_exit_handlers_and_finalizers(program):
    ended = program(
        PROLOGUE
        + """
import atexit
atexit.register(lambda: (use_everything(), print("at exit", flush=True)))
class Last:
    def __init__(self): self.lock, self.print = Lock(), print
    def __del__(self):
        with self.lock: self.print("finalized", flush=True)
import builtins
builtins.last = Last()
builtins.kept = [lock, rlock, semaphore, event, condition, barrier, rwlock]
"""
    )
    assert (ended.status, ended.out, ended.err) == (0, "at exit\nfinalized\n", "")


def test_a_child_forked_while_others_wait_and_hold_uses_new_primitives(program):
    ended = program(
        PROLOGUE
        + """
start_waits(standard.Thread, daemon=True)
time.sleep(0.25)  # Long enough for the waits to be in the detector's registry.
for _ in range(10):
    status = in_child(use_everything)
    assert status == 0, status
use_everything()
print("end")
"""
    )
    assert (ended.status, ended.out, ended.err) == (0, "end\n", "")


def test_forks_at_any_moment_of_busy_locks_leave_children_that_work(program):
    ended = program(
        PROLOGUE
        + """
stop = Event()
shared = [Lock(), RLock(), Semaphore(1), Condition()]
def hammer():
    while not stop.is_set():
        for each in shared:
            with each: pass
        with shared[3]: shared[3].notify_all()
        stop.wait(0)
threads = [standard.Thread(target=hammer) for _ in range(4)]
for thread in threads: thread.start()
try:
    for _ in range(40):
        status = in_child(use_everything)
        assert status == 0, status
finally:
    stop.set()
for thread in threads: thread.join()
print("end")
"""
    )
    assert (ended.status, ended.out, ended.err) == (0, "end\n", "")


@pytest.mark.parametrize("held", ["Lock", "RLock", "Semaphore", "Condition"])
def test_what_another_thread_held_at_the_fork_is_held_in_the_child_but_no_wait_is_endless(
    held, program
):
    ended = program(
        PROLOGUE
        + f"""
mine, taken, go = {held}(), standard.Event(), standard.Event()
def hold():
    with mine:
        taken.set()
        go.wait()
thread = standard.Thread(target=hold); thread.start()
taken.wait()
def in_the_child():
    assert mine.acquire(False) is False
    assert mine.acquire(timeout=0.01) is False
    try:
        mine.acquire()
    except DeadlockError as error:
        assert "a thread that has ended" in str(error), error
        return 0
    return 1
status = in_child(in_the_child)
go.set(); thread.join()
assert status == 0, status
assert mine.acquire(False)
print("end")
"""
    )
    assert (ended.status, ended.out, ended.err) == (0, "end\n", "")


@pytest.mark.parametrize("held", ["Lock", "RLock", "Condition"])
def test_a_library_may_renew_its_locks_in_a_child(held, program):
    ended = program(
        PROLOGUE
        + f"""
mine, taken, go = {held}(), standard.Event(), standard.Event()
os.register_at_fork(after_in_child=mine._at_fork_reinit)
def hold():
    with mine:
        taken.set()
        go.wait()
thread = standard.Thread(target=hold); thread.start()
taken.wait()
def in_the_child():
    assert mine.acquire(timeout=5)
    mine.release()
status = in_child(in_the_child)
go.set(); thread.join()
assert status == 0, status
print("end")
"""
    )
    assert (ended.status, ended.out, ended.err) == (0, "end\n", "")


def test_the_forking_thread_keeps_what_it_holds_in_the_child(program):
    ended = program(
        PROLOGUE
        + """
def in_the_child():
    assert lock.locked() and rlock._is_owned()
    lock.release(); rlock.release(); rwlock.release_write()
    with lock, rlock, rwlock.write(): pass
assert in_child(in_the_child) == 0
assert lock.locked() and rlock._is_owned()
print("end")
"""
    )
    assert (ended.status, ended.out, ended.err) == (0, "end\n", "")


def test_an_object_that_only_its_waiter_knows_survives_the_collector(program):
    ended = program(
        PROLOGUE
        + """
def waiter(make, wait):
    thing = make()
    thing_in_a_cycle = [thing]
    thing_in_a_cycle.append(thing_in_a_cycle)
    references.append(weakref.ref(thing))
    del thing_in_a_cycle
    wait(thing)
def taken_lock():
    lock = Lock(); lock.acquire(); return lock
def in_wait(condition):
    with condition: condition.wait()
def notify(condition):
    with condition: condition.notify_all()
for make, wait, wake in [
    (Event, Event.wait, Event.set),
    (lambda: Semaphore(0), Semaphore.acquire, Semaphore.release),
    (taken_lock, lambda lock: lock.acquire(), lambda lock: lock.release()),
    (lambda: Barrier(2), Barrier.wait, Barrier.wait),
    (Condition, in_wait, notify),
]:
    references = []
    thread = standard.Thread(target=waiter, args=(make, wait)); thread.start()
    while not references: time.sleep(0.001)
    for _ in range(3): gc.collect()
    while thread.is_alive():
        for _ in range(2): gc.collect()
        thing = references[0]()
        if thing is not None and not (isinstance(thing, Barrier) and not thing.n_waiting):
            wake(thing) if not isinstance(thing, type(lock)) or thing.locked() else None
        del thing
        thread.join(0.01)
    gc.collect()
    assert references[0]() is None, make
print("end")
"""
    )
    assert (ended.status, ended.out, ended.err) == (0, "end\n", "")
