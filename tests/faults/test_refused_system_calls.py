"""Under a seccomp filter that refuses newer system calls, as old container runtimes have one.

EPERM is what filters answer that are older than the call, ENOSYS what newer ones do.
"""

import errno
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from seccomp import REFUSE

pytestmark = pytest.mark.timeout(180)


def filtered(calls, error):
    """Source that makes `calls` fail with `error` for what follows."""
    return f"{REFUSE}\nrefuse({calls}, {error})\n"


EVERYTHING = """
import os, signal, time
from manyhands import multiprocessing as mp
from manyhands.futures import ProcessPoolExecutor, WorkerCrashed


def square(number):
    return number * number


def put(queue, value):
    queue.put(value)
    raise SystemExit(3)


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as executor:
        assert list(executor.map(square, range(5))) == [0, 1, 4, 9, 16]
        killed = executor.submit(lambda: os.kill(os.getpid(), signal.SIGKILL)).exception()
        assert isinstance(killed, WorkerCrashed) and "SIGKILL" in str(killed), killed
        late = executor.options(timeout=0.2).submit(time.sleep, 1000).exception()
        assert isinstance(late, TimeoutError), late
        stopped = executor.submit(time.sleep, 1000)
        while not stopped.running():
            time.sleep(0.001)
        assert stopped.cancel(running=True)
        handles = executor._processes
        assert all(handle.is_alive() for handle in handles.values())
    assert not any(handle.is_alive() for handle in handles.values())
    with mp.Pool(2) as pool:
        assert pool.map(square, range(3)) == [0, 1, 4]
    for method in ("template", "spawn", "fork"):
        context = mp.get_context(method)
        queue = context.Queue()
        process = context.Process(target=put, args=(queue, method))
        process.start()
        assert mp.connection.wait([process.sentinel], 60) == [process.sentinel]
        process.join()
        assert process.exitcode == 3, (method, process.exitcode)
        assert queue.get() == method
        sleeper = context.Process(target=time.sleep, args=(1000,))
        sleeper.start()
        sleeper.terminate()
        sleeper.join()
        assert sleeper.exitcode == -signal.SIGTERM, (method, sleeper.exitcode)
    print("all worked")
"""

PIDFDS = ["pidfd_open", "pidfd_send_signal"]


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS], ids=["EPERM", "ENOSYS"])
@pytest.mark.parametrize("calls", [PIDFDS, ["pidfd_send_signal"], ["close_range"]], ids="+".join)
def test_processes_work_without(run, calls, error):
    finished = run(filtered(calls, error) + EVERYTHING, timeout_seconds=120)
    assert (finished.status, finished.out, finished.err) == (0, "all worked\n", "")


def test_processes_work_without_clone3_where_the_c_library_is_told_so(run):
    source = filtered(["clone3"], errno.ENOSYS) + EVERYTHING
    finished = run(source, timeout_seconds=120)
    assert (finished.status, finished.out, finished.err) == (0, "all worked\n", "")


def test_a_refused_clone3_without_which_there_are_no_threads_is_named(run):
    source = filtered(["clone3"], errno.EPERM) + (
        "from manyhands.futures import ProcessPoolExecutor\n"
        "with ProcessPoolExecutor(1) as executor:\n"
        "    print(executor.submit(abs, -1).result())\n"
    )
    finished = run(source)
    last_line = finished.err.splitlines()[-1]
    assert finished.status == 1
    assert "clone3" in last_line and "allow clone3 in the seccomp profile" in last_line


@pytest.mark.parametrize("method", ["template", "spawn", "fork"])
def test_without_pidfds_nobody_survives_a_killed_parent(program, method):
    source = filtered(PIDFDS, errno.EPERM) + (
        "import time\n"
        "from manyhands import multiprocessing as mp\n"
        "from manyhands.futures import ProcessPoolExecutor\n"
        "if __name__ == '__main__':\n"
        f"    context = mp.get_context({method!r})\n"
        "    executor = ProcessPoolExecutor(2, mp_context=context)\n"
        "    futures = [executor.submit(time.sleep, 1000) for _ in range(2)]\n"
        "    process = context.Process(target=time.sleep, args=(1000,))\n"
        "    process.start()\n"
        "    while not all(future.running() for future in futures):\n"
        "        time.sleep(0.01)\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(1000)\n"
    )
    family = program(source)
    family.wait_for_line("ready")
    assert len(family.pids()) >= 4
    family.process.kill()
    assert family.wait().status == -signal.SIGKILL
    family.assert_gone()
