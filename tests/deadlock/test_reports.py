"""What a report says: every thread, what it holds and since where, what it waits for and where.

The programs mark their lines with comments; reports must name these lines.
"""

import re

import pytest

TWO_LOCKS = """
import threading as standard
from manyhands.threading import *

salt, pepper = {first}(name="salt"), {second}(name="pepper")
both = standard.Barrier(2)

def cook():
    with salt:  # anna holds
        both.wait()
        with pepper:  # anna waits
            pass

def bake():
    pepper.acquire()  # ben holds
    both.wait()
    try:
        salt.acquire()  # ben waits
        salt.release()
    finally:
        pepper.release()

def guarded(work):
    try:
        work()
    except DeadlockError as error:
        print(error, flush=True)

anna = Thread(target=guarded, args=(cook,), name="anna")
ben = Thread(target=guarded, args=(bake,), name="ben")
anna.start(); ben.start()
anna.join(); ben.join()
print("end")
"""


def line_of(source, comment):
    """The number of the line with a comment."""
    (number,) = [n for n, line in enumerate(source.splitlines(), 1) if line.endswith(comment)]
    return number


def of_thread(report, name):
    """The part of a report that is about one thread."""
    part = re.search(rf'  Thread "{name}"\n((?:    .*\n?)+)', report)
    assert part, report
    return part[1]


@pytest.mark.parametrize("first", ["Lock", "RLock"])
@pytest.mark.parametrize("second", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_a_cycle_is_told_thread_by_thread_with_files_and_lines(first, second, run):
    source = TWO_LOCKS.format(first=first, second=second)
    ended = run(source)
    assert ended.returncode == 0, ended.stderr
    report, end = ended.stdout.rsplit("\n", 2)[0], ended.stdout.splitlines()[-1]
    assert end == "end", "the other thread went on"
    assert report.count("deadlock:") == 1, "one of the two is told, and only one"
    assert report.startswith("deadlock: 2 threads wait for each other")
    kind = "RLock" if second == "Condition" else second
    named = "" if second == "Condition" else ' "pepper"'
    anna, ben = of_thread(report, "anna"), of_thread(report, "ben")
    at = {
        comment: f"program.py:{line_of(source, comment)}"
        for comment in ("# anna holds", "# anna waits", "# ben holds", "# ben waits")
    }
    assert re.search(rf'holds {first} "salt", acquired at .*{at["# anna holds"]}\n', anna)
    assert re.search(rf"waits for {kind}{named}.* at .*{at['# anna waits']}", anna)
    assert 'held by thread "ben"' in anna or 'held by "ben"' in anna
    assert re.search(rf"holds {kind}{named}.*, acquired at .*{at['# ben holds']}\n", ben)
    assert re.search(rf'waits for {first} "salt" at .*{at["# ben waits"]}', ben)
    assert 'held by thread "anna"' in ben or 'held by "anna"' in ben


def test_a_report_fits_a_terminal(run):
    report = run(TWO_LOCKS.format(first="Lock", second="Lock")).stdout
    assert all(len(line) < 160 for line in report.splitlines())
    assert "\t" not in report
    assert "0x" not in report, "what has a name is called by it"


def test_without_names_the_report_tells_locks_apart(run):
    source = re.sub(r'name="\w+"(?=\))', "", TWO_LOCKS.format(first="Lock", second="Lock"))
    source = source.replace(', name="anna"', "").replace(', name="ben"', "")
    report = run(source).stdout
    assert re.search(r'Thread "Thread-1 \(guarded\)"', report), report
    assert len(set(re.findall(r"Lock (0x[0-9a-f]+)", report))) == 2


def test_who_takes_a_lock_twice_is_told_at_once_where_it_took_it(run):
    source = """
import time
from manyhands.threading import *
lock = Lock(name="salt")
# Another thread is busy all the time: whether this one is stuck has nothing to do with it.
Thread(target=time.sleep, args=(300,), daemon=True).start()
with lock:  # holds
    try:
        lock.acquire()  # waits
    except DeadlockError as error:
        print(error)
assert not lock.locked()
"""
    ended = run(source)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("deadlock: a thread waits for itself.")
    about_main = of_thread(ended.stdout, "MainThread")
    assert f"program.py:{line_of(source, '# holds')}" in about_main
    assert f"program.py:{line_of(source, '# waits')}" in about_main
    assert "its own" in about_main


@pytest.mark.parametrize(
    "twice",
    [
        "with lock, lock: pass",
        "with lock: lock.acquire()",
        "with lock, Condition(lock): pass",
        "lock.acquire(); lock.acquire()",
        "lock = Semaphore(1); lock.acquire(); lock.acquire()",
        "lock = RwLock(); lock.acquire_write(); lock.acquire_write()",
        "lock = RwLock(); lock.acquire_write(); lock.acquire_read()",
    ],
)
def test_a_lone_thread_that_waits_for_itself_gets_an_error(twice, run):
    ended = run(f"from manyhands.threading import *\nlock = Lock()\n{twice}\n")
    assert ended.returncode == 1
    assert "manyhands.threading.DeadlockError: deadlock: a thread waits" in ended.stderr


JOINS = """
import time
from manyhands import queue
from manyhands.threading import *
boxes = queue.Queue()

def guarded(work):
    try:
        work()
    except DeadlockError as error:
        print(error, flush=True)
"""


def test_a_consumer_whose_producer_has_gone_is_told(run):
    source = (
        JOINS
        + """
def produce():
    for n in range(3):
        boxes.put(n)

def consume():
    for _ in range(4):
        boxes.get()  # waits

producer = Thread(target=produce, name="producer"); producer.start()
consumer = Thread(target=guarded, args=(consume,), name="consumer"); consumer.start()
guarded(producer.join); guarded(consumer.join)
print("end")
"""
    )
    ended = run(source)
    assert ended.returncode == 0, ended.stderr
    assert "nobody is left to wake" in ended.stdout
    consumer = of_thread(ended.stdout, "consumer")
    assert "waits for Queue" in consumer
    assert f"program.py:{line_of(source, '# waits')}" in consumer
    assert "end" in ended.stdout.splitlines()


def test_the_error_may_reach_the_one_who_joins(run):
    source = (
        JOINS
        + """
consumer = Thread(target=boxes.get, name="consumer", daemon=True); consumer.start()
consumer.join()  # waits
"""
    )
    ended = run(source)
    assert ended.returncode == 1
    assert ended.stderr.count("DeadlockError: deadlock: 2 threads wait, and nobody is left") >= 1
    assert 'waits for Thread "consumer"' in ended.stderr
    assert f"program.py:{line_of(source, '# waits')}" in ended.stderr


@pytest.mark.parametrize("wait", ["get()", "join()", "put(1)"])
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_a_queue_that_nobody_serves_is_found(kind, wait, run):
    ended = run(f"""
from manyhands import queue
boxes = queue.{kind}(1)
if {wait!r} != "get()": boxes.put(1)
boxes.{wait}
""")
    assert ended.returncode == 1
    assert f"{kind}" in ended.stderr
    assert "DeadlockError" in ended.stderr


@pytest.mark.parametrize(
    "wait",
    [
        "Event(name='salt').wait()",
        "Barrier(2, name='salt').wait()",
        "Semaphore(0, name='salt').acquire()",
        "c = Condition(name='salt'); c.acquire(); c.wait()",
        "r = RwLock(name='salt'); r.acquire_read(); r.acquire_write()",
    ],
)
def test_a_wait_that_nobody_is_left_to_end_is_found(wait, run):
    ended = run(f"from manyhands.threading import *\n{wait}\n")
    assert ended.returncode == 1
    assert "DeadlockError" in ended.stderr
    assert '"salt"' in ended.stderr


def test_threads_that_join_each_other_are_told(run):
    ended = run("""
from manyhands.threading import *
threads, begun = [], Barrier(2)
def join_other(other):
    begun.wait()
    threads[other].join()
threads += [Thread(target=join_other, args=(n,), name=f"twin-{n}", daemon=True) for n in (1, 0)]
for thread in threads: thread.start()
try:
    for thread in threads: thread.join()
except DeadlockError as error:
    print(error)
""")
    assert ended.stdout.count("deadlock: 2 threads wait for each other") == 1, ended.stderr
    assert "which has not ended" in of_thread(ended.stdout, "twin-0")


def test_a_holder_that_has_ended_is_named_as_such(run):
    ended = run("""
from manyhands.threading import *
lock = RLock(name="salt")
Thread(target=lock.acquire, name="gone").start()
while lock.acquire(False):
    lock.release()
lock.acquire()
""")
    assert ended.returncode == 1
    assert 'waits for RLock "salt"' in ended.stderr
    assert "a thread that has ended" in ended.stderr


def test_a_thread_that_leaves_its_blocks_by_the_error_frees_the_others(run):
    ended = run("""
import threading as standard
from manyhands.threading import *
locks, meet, passed = [Lock() for _ in range(5)], standard.Barrier(5), []
def eat(n):
    try:
        with locks[n]:
            meet.wait()
            with locks[(n + 1) % 5]:
                passed.append(n)
    except DeadlockError:
        passed.append("told")
threads = [Thread(target=eat, args=(n,)) for n in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert passed.count("told") == 1, passed
assert len(passed) == 5
""")
    assert ended.returncode == 0, ended.stderr


def test_a_report_shows_in_the_log_of_a_thread_that_does_not_catch_it(run):
    ended = run("""
from manyhands.threading import *
lock = Lock()
def twice():
    with lock, lock: pass
thread = Thread(target=twice, name="twice", propagate=False); thread.start()
thread.join()
""")
    assert ended.returncode == 0
    assert "Exception in thread twice" in ended.stderr
    assert "DeadlockError: deadlock: a thread waits for itself." in ended.stderr


def test_a_non_daemon_thread_that_nobody_wakes_does_not_keep_the_program_for_ever(run):
    ended = run("""
from manyhands.threading import *
Thread(target=Event().wait, name="sleeper").start()
""")
    assert "DeadlockError" in ended.stderr
    assert 'Thread "sleeper"' in ended.stderr
