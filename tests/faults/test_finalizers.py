"""What is collected late, half made, or in a child says nothing and does nothing of its own."""

import gc
import itertools
import os
import subprocess
import sys

import manyhands.multiprocessing as mp
import manyhands.queue
import manyhands.threading
import pytest
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor
from manyhands.multiprocessing import connection, pool, shared_memory

# One of everything that has a finalizer, or somebody who is told when it is gone, in a cycle that
# only the end of the interpreter collects.
EVERYTHING = """
import itertools, os, sys, time
import manyhands.multiprocessing as mp
import manyhands.queue
import manyhands.threading
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor
from manyhands.multiprocessing import pool

class Kept(list):
    pass

kept = Kept()
kept.itself = kept
manyhands.threading.kept_to_the_end = kept
end = sys.argv[1]

def keep(thing):
    kept.append(thing)
    return thing

for kind in (ProcessPoolExecutor, ThreadPoolExecutor):
    executor = keep(kind(1))
    keep(executor.map(abs, range(66_000)))
    keep(executor.options(timeout=50).map(abs, range(66_000)))
    next(keep(executor.map(abs, range(66_000))))
    next(keep(executor.map(abs, itertools.count(), buffersize=10)))
    keep(executor.submit(abs, 1))
for kind in (mp.Pool, pool.ThreadPool):
    its = keep(kind(1))
    keep(its.imap(abs, range(1_000)))
    next(keep(its.imap_unordered(abs, range(1_000))))
    keep(its.map_async(abs, range(1_000)))
    if end == "close":
        its.close()
    elif end == "terminate":
        its.terminate()
block = keep(mp.shared_memory.SharedMemory(create=True, size=100))
keep(memoryview(block.buf))
keep(mp.Queue()).put(1)
keep(mp.Lock()).acquire()
keep(keep(mp.Manager()).dict())
kept += [mp.Pipe(), mp.Value("i"), mp.Array("i", 3), mp.Condition(), mp.JoinableQueue()]
keep(manyhands.queue.Queue()).put(1)
keep(manyhands.threading.Thread(target=time.sleep, args=(100,), daemon=True)).start()
if end == "fork":
    if os.fork() == 0:
        sys.exit()
    assert os.wait()[1] == 0
elif end == "forget":
    for name in [name for name in sys.modules if name.startswith("manyhands")]:
        del sys.modules[name]
"""

HALF_MADE = {
    "a pool without processes": (ValueError, lambda: mp.Pool(0)),
    "a pool of a wrong number": (TypeError, lambda: mp.Pool("x")),
    "a pool with no initializer": (TypeError, lambda: mp.Pool(1, 5)),
    "a pool of no tasks": (ValueError, lambda: mp.Pool(1, maxtasksperchild=0)),
    "a thread pool without threads": (ValueError, lambda: pool.ThreadPool(0)),
    "an executor without processes": (ValueError, lambda: ProcessPoolExecutor(0)),
    "an executor of a wrong number": (TypeError, lambda: ThreadPoolExecutor("x")),
    "a block that does not exist": (
        FileNotFoundError,
        lambda: shared_memory.SharedMemory("of nobody"),
    ),
    "a block of less than nothing": (
        ValueError,
        lambda: shared_memory.SharedMemory(create=True, size=-1),
    ),
    "a list of what cannot be shared": (
        ValueError,
        lambda: shared_memory.ShareableList([object()]),
    ),
    "a connection of no handle": (ValueError, lambda: connection.Connection(-1)),
    "a process of a group": (AssertionError, lambda: mp.Process(group=2)),
    "a thread of a group": (AssertionError, lambda: manyhands.threading.Thread(group=2)),
    "a queue of a wrong size": (TypeError, lambda: manyhands.queue.Queue("x")),
    "a queue of processes of a wrong size": (TypeError, lambda: mp.Queue("x")),
    "a semaphore of less than nothing": (ValueError, lambda: mp.Semaphore(-1)),
    "an array of less than nothing": (ValueError, lambda: mp.Array("i", -1)),
}

NEVER_INITIALIZED = (
    mp.pool.Pool,
    pool.ThreadPool,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    shared_memory.SharedMemory,
    manyhands.threading.Thread,
    manyhands.queue.Queue,
)


@pytest.mark.parametrize("end", ["left open", "close", "terminate", "fork", "forget"])
def test_what_the_end_of_the_interpreter_collects_says_nothing(end):
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", EVERYTHING, end]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (ended.stderr, ended.returncode) == ("", 0)


# A warning about an exception in a finalizer is an error of the test.
@pytest.mark.parametrize("what", HALF_MADE)
def test_what_was_half_made_is_collected_without_a_word(what):
    error, make = HALF_MADE[what]
    with pytest.raises(error):
        make()
    gc.collect()


@pytest.mark.parametrize("kind", NEVER_INITIALIZED, ids=lambda kind: kind.__qualname__)
def test_what_was_never_initialized_is_collected_without_a_word(kind):
    kind.__new__(kind)
    gc.collect()


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_map_that_a_forked_child_drops_goes_on_in_the_parent(kind):
    with kind(1) as executor:
        asked = executor.map(abs, range(66_000))
        never_asked = executor.map(abs, range(66_000))
        endless = executor.map(abs, itertools.count(), buffersize=10)
        assert (next(asked), next(endless)) == (0, 0)
        pid = os.fork()
        if pid == 0:
            said = []
            sys.unraisablehook = said.append
            del asked, never_asked, endless
            gc.collect()
            os._exit(len(said))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert sum(asked) == sum(never_asked) == sum(range(66_000))
        assert next(endless) == 1
        endless.close()


@pytest.mark.parametrize("kind", [pool.Pool, pool.ThreadPool])
def test_what_a_forked_child_drops_of_a_pool_goes_on_in_the_parent(kind):
    with kind(1) as its:
        ordered = its.imap(abs, range(1_000))
        unordered = its.imap_unordered(abs, range(1_000))
        assert next(unordered) == 0
        pid = os.fork()
        if pid == 0:
            said = []
            sys.unraisablehook = said.append
            del its, ordered, unordered
            gc.collect()
            os._exit(len(said))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert sum(ordered) == sum(unordered) == sum(range(1_000))
