"""What looks like a deadlock and is none: waits that something ends which the detector cannot see.

Each program waits for longer than a few looks of the detector take. It must end well, with nothing
on standard error; a DeadlockError in any thread would show there.
"""

import pytest

PROLOGUE = """
import ctypes, os, signal, socket, subprocess, sys, time
import threading as standard
from manyhands import queue
from manyhands.threading import *

LATER_S = 0.8  # The detector looks first after a tenth of a second.

def later(work):
    # In a thread that is busy until then.
    def body():
        time.sleep(LATER_S)
        work()
    thread = standard.Thread(target=body, daemon=True)
    thread.start()
    return thread

def by_signal(number, work):
    signal.signal(number, lambda *_: work())
    return subprocess.Popen(["sh", "-c", f"sleep {LATER_S}; kill -{int(number)} {os.getpid()}"])

lock, event, boxes = Lock(), Event(), queue.Queue()
lock.acquire()
"""

PROGRAMS = {
    "a timed wait for a lock that nobody releases": """
assert lock.acquire(timeout=LATER_S) is False""",
    "timed waits of everybody": """
threads = [Thread(target=event.wait, args=(LATER_S,)) for _ in range(3)]
threads += [Thread(target=lock.acquire, args=(True, LATER_S)) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()""",
    "a chain of untimed waits that a timed one ends": """
gate = Lock()
def hold():
    with gate: event.wait(LATER_S)
threads = [Thread(target=hold)] + [Thread(target=lambda: gate.acquire() and gate.release())
                                   for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()""",
    "a circle of two locks in which one wait is timed": """
other, both = Lock(), standard.Barrier(2)
def patient():
    with other:
        both.wait()
        with gate: pass
def impatient():
    with gate:
        both.wait()
        assert other.acquire(timeout=LATER_S) is False
gate = Lock()
threads = [Thread(target=patient), Thread(target=impatient)]
for thread in threads: thread.start()
for thread in threads: thread.join()""",
    "a lock as a signal: taken twice here, released there": """
later(lock.release)
lock.acquire()""",
    "a lock as a signal again and again": """
signals = [lock, Lock()]
signals[1].acquire()
def answer():
    for _ in range(3):
        signals[0].acquire()
        time.sleep(0.3)
        signals[1].release()
thread = Thread(target=answer); thread.start()
for _ in range(3):
    time.sleep(0.3)
    signals[0].release()
    signals[1].acquire()
thread.join()""",
    "a lock as a signal that was an ordinary lock before": """
lock.release()
with lock: pass
lock.acquire()
later(lock.release)
lock.acquire()""",
    "permits handed out by another thread": """
permits = Semaphore(1)
permits.acquire()
later(permits.release)
permits.acquire()""",
    "an event set by a handler of SIGTERM": """
child = by_signal(signal.SIGTERM, event.set)
event.wait(); child.wait()""",
    "an event set by a handler of SIGUSR1, while threads wait for the main one": """
child = by_signal(signal.SIGUSR1, event.set)
threads = [Thread(target=lambda: event.wait()) for _ in range(3)]
for thread in threads: thread.start()
event.wait(); child.wait()
for thread in threads: thread.join()""",
    "an event set by a handler of SIGINT": """
child = by_signal(signal.SIGINT, event.set)
event.wait(); child.wait()""",
    "a queue filled by a signal handler": """
child = by_signal(signal.SIGALRM, lambda: boxes.put(1))
assert boxes.get() == 1
child.wait()""",
    "an event set by a daemon thread that accepts a connection": """
server = socket.create_server(("127.0.0.1", 0))
def serve():
    connection, _ = server.accept()
    connection.close()
    event.set()
Thread(target=serve, daemon=True).start()
port = server.getsockname()[1]
code = f"import socket, time; time.sleep({LATER_S}); "
code += f"socket.create_connection(('127.0.0.1', {port}))"
child = subprocess.Popen([sys.executable, "-c", code])
event.wait(); child.wait(); server.close()""",
    "an event set by a thread that reads a pipe": """
child = subprocess.Popen(["sleep", str(LATER_S)], stdout=subprocess.PIPE)
def read():
    with child: child.stdout.read()
    event.set()
Thread(target=read).start()
event.wait()""",
    "a lock released by a thread that waits for a process": """
child = subprocess.Popen(["sleep", str(LATER_S)])
Thread(target=lambda: (child.wait(), lock.release())).start()
lock.acquire()""",
    "a process waited for while threads wait for the main one": """
thread = Thread(target=event.wait); thread.start()
subprocess.run(["sleep", str(LATER_S)])
event.set(); thread.join()""",
    "a lock released by a C thread that Python did not start": """
libc = ctypes.CDLL(None)
@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
def body(_):
    libc.usleep(int(LATER_S * 1e6))
    lock.release()
thread = ctypes.c_ulong()
assert libc.pthread_create(ctypes.byref(thread), None, body, None) == 0
lock.acquire()
assert libc.pthread_join(thread, None) == 0""",
    "a callback of a timer of the C library": """
class SigEvent(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("notify", ctypes.c_int),
                ("function", ctypes.c_void_p), ("attributes", ctypes.c_void_p),
                ("pad", ctypes.c_char * 32)]
@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def ring(_): event.set()
libc = ctypes.CDLL(None)
wish = SigEvent(None, 0, 2, ctypes.cast(ring, ctypes.c_void_p).value, None)  # SIGEV_THREAD
timer = ctypes.c_void_p()
assert libc.timer_create(1, ctypes.byref(wish), ctypes.byref(timer)) == 0
after = (ctypes.c_long * 4)(0, 0, 0, int(LATER_S * 1e9))
assert libc.timer_settime(timer, 0, after, None) == 0
event.wait()
time.sleep(0.1)""",
    "the result of a process pool": """
from manyhands.futures import ProcessPoolExecutor
with ProcessPoolExecutor(1) as pool:
    future = pool.submit(time.sleep, LATER_S)
    future.add_done_callback(lambda _: event.set())
    event.wait()
    assert future.result() is None""",
    "the result of a standard process pool": """
import concurrent.futures, multiprocessing
context = multiprocessing.get_context("fork")
with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
    pool.submit(time.sleep, LATER_S).add_done_callback(lambda _: event.set())
    event.wait()""",
    "the result of a thread pool": """
from manyhands.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    pool.submit(time.sleep, LATER_S).add_done_callback(lambda _: event.set())
    waiting = pool.submit(event.wait)
    assert waiting.result() is True""",
    "idle workers of thread pools": """
from manyhands.futures import ThreadPoolExecutor
import concurrent.futures
with ThreadPoolExecutor(2) as ours, concurrent.futures.ThreadPoolExecutor(2) as standard_pool:
    ours.submit(int).result(); standard_pool.submit(int).result()
    later(event.set)
    event.wait()""",
    "a semaphore of multiprocessing that another process releases": """
import multiprocessing
context = multiprocessing.get_context("fork")
shared = context.Semaphore(0)
pid = os.fork()
if pid == 0:
    time.sleep(LATER_S)
    shared.release()
    os._exit(0)
thread = Thread(target=lambda: (shared.acquire(), event.set())); thread.start()
event.wait(); thread.join(); os.waitpid(pid, 0)""",
    "an event loop in another thread": """
import asyncio
loop = asyncio.new_event_loop()
thread = Thread(target=loop.run_forever); thread.start()
loop.call_soon_threadsafe(loop.call_later, LATER_S, event.set)
event.wait()
loop.call_soon_threadsafe(loop.stop); thread.join(); loop.close()""",
    "a coroutine whose result a thread awaits": """
import asyncio
async def main():
    waiting = asyncio.to_thread(event.wait)
    asyncio.get_running_loop().call_later(LATER_S, event.set)
    await waiting
asyncio.run(main())""",
    "a lock held by a thread that sleeps": """
gate = Lock()
def hold():
    with gate: time.sleep(LATER_S)
thread = Thread(target=hold); thread.start()
while not gate.locked(): time.sleep(0.001)
with gate: pass
thread.join()""",
    "a lock held by a thread that computes": """
gate = RLock()
def hold():
    with gate:
        until = time.monotonic() + LATER_S
        while time.monotonic() < until: pass
thread = Thread(target=hold); thread.start()
with gate: pass
thread.join()""",
    "a timer": """
Timer(LATER_S, event.set).start()
event.wait()""",
    "a standard timer": """
standard.Timer(LATER_S, event.set).start()
event.wait()""",
    "a condition notified by a timer": """
condition = Condition()
def wake():
    with condition: condition.notify()
Timer(LATER_S, wake).start()
with condition: condition.wait()""",
    "a barrier that the last thread reaches late": """
barrier = Barrier(4)
threads = [Thread(target=barrier.wait) for _ in range(3)]
for thread in threads: thread.start()
time.sleep(LATER_S)
barrier.wait()
for thread in threads: thread.join()""",
    "a consumer whose producer is slow": """
def produce():
    for n in range(3):
        time.sleep(LATER_S / 3)
        boxes.put(n)
thread = Thread(target=produce); thread.start()
assert [boxes.get() for _ in range(3)] == [0, 1, 2]
thread.join()""",
    "a queue that daemon consumers wait at for ever while the program works": """
for _ in range(3): Thread(target=boxes.get, daemon=True).start()
time.sleep(LATER_S)""",
    "daemon threads that wait for ever while main waits for input": """
for _ in range(3): Thread(target=event.wait, daemon=True).start()
reader, writer = os.pipe()
child = subprocess.Popen(["sleep", str(LATER_S)], stdout=writer)
os.close(writer)
os.read(reader, 1); child.wait()""",
    "many threads at one busy lock": """
gate, left = Lock(), [0]
def work():
    for _ in range(40):
        with gate:
            time.sleep(0.0005)
            left[0] += 1
threads = [Thread(target=work) for _ in range(40)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert left == [1600]""",
    "a reader that lets a writer in later": """
rwlock = RwLock()
rwlock.acquire_read()
later(rwlock.release_read)
with rwlock.write(): pass""",
    "two readers of which each waits for the other's turn": """
rwlock, both = RwLock(), Barrier(2)
def read():
    with rwlock.read():
        both.wait()
        time.sleep(LATER_S)
threads = [Thread(target=read) for _ in range(2)]
for thread in threads: thread.start()
with rwlock.write(): pass
for thread in threads: thread.join()""",
    "the watchdog of faulthandler, which will act": """
import faulthandler
faulthandler.dump_traceback_later(LATER_S, file=open(os.devnull, "w"))
later(event.set)
event.wait()
faulthandler.cancel_dump_traceback_later()""",
    "an asynchronous exception that is under way": """
class Stop(Exception): pass
ended = []
def wait():
    try: event.wait()
    except Stop: ended.append(1)
thread = standard.Thread(target=wait); thread.start()
time.sleep(LATER_S)
ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stop))
event.set()
thread.join()""",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_no_alarm_for(program, run):
    ended = run(PROLOGUE + program + "\nprint('end')\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "end\n", "")


def test_locks_as_signals_waited_for_crosswise_are_suspected_once_and_no_more(run):
    ended = run(
        PROLOGUE
        + """
first, second, both = Lock(name="salt"), Lock(name="pepper"), standard.Barrier(2)
heard = standard.Event()
class Ear:
    flush = sys.stderr.flush
    def write(self, text):
        sys.__stderr__.write(text)
        heard.set()
sys.stderr = Ear()
def release_when_told():
    while not heard.wait(0.05): pass
    first.release()
    second.release()
def wait(mine, other):
    mine.acquire()
    both.wait()
    other.acquire()
threads = [Thread(target=wait, args=order) for order in ((first, second), (second, first))]
for thread in threads: thread.start()
release_when_told()
for thread in threads: thread.join()
print("end")
"""
    )
    assert (ended.returncode, ended.stdout) == (0, "end\n"), ended.stderr
    assert ended.stderr.count("\n  Thread") == 2, "said once"
    assert "unless another thread releases" in ended.stderr
