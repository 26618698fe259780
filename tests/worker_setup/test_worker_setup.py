"""A prepared worker looks like its parent and leaves in order."""

import logging
import os
import subprocess
import sys
import warnings

import pytest
from bare_worker import HERE, PACKAGE, BareWorker, run_script
from manyhands._worker import parent_state

pytestmark = pytest.mark.timeout(120)


def test_paths_arguments_environment_and_limits_are_the_parents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prog", "--flag"])
    monkeypatch.setattr(sys, "path", [*sys.path, "relative", ""])
    monkeypatch.setenv("MANYHANDS_TEST", "set")
    data = parent_state.describe_parent()
    del data.environ["HOME"]

    def look():
        import os
        import sys

        environ = os.environ.get("MANYHANDS_TEST"), os.environ.get("HOME")
        return os.getcwd(), sys.argv, sys.path[-2:], environ, sys.getrecursionlimit()

    with BareWorker(prepare=data) as worker:
        cwd, argv, path, environ, limit = worker.run(look)
    assert cwd == str(tmp_path) and argv == ["prog", "--flag"]
    assert path == [str(tmp_path / "relative"), str(tmp_path)]
    assert environ == ("set", None) and limit == sys.getrecursionlimit()


def test_multiprocessing_sees_a_child_that_is_no_daemon():
    import multiprocessing

    def look():
        import multiprocessing

        me, parent = multiprocessing.current_process(), multiprocessing.parent_process()
        return me.name, me.daemon, bytes(me.authkey), me.pid, parent.pid, parent.is_alive()

    with BareWorker(name="ProcessPoolWorker-3") as worker:
        name, daemon, key, pid, parent_pid, alive = worker.run(look)
    assert (name, daemon) == ("ProcessPoolWorker-3", False)
    assert key == bytes(multiprocessing.current_process().authkey)
    assert pid == worker.process.pid and parent_pid == os.getpid() and alive


def test_tasks_can_start_processes_and_standard_pools():
    def nested():
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        context = multiprocessing.get_context("fork")
        process = context.Process(target=print)
        process.start()
        process.join()
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return process.exitcode, pool.submit(pow, 2, 5).result()

    with BareWorker() as worker:
        assert worker.run(nested) == (0, 32)


def test_fork_inside_a_task_does_not_warn_about_threads():
    def fork():
        import os
        import threading
        import warnings

        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        with warnings.catch_warnings(record=True) as caught:
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        stop.set()
        return [str(w.message) for w in caught]

    with BareWorker() as worker:
        assert worker.run(fork) == []


def test_logging_levels_and_warning_filters_are_the_parents():
    root = logging.getLogger()
    noisy, quiet = logging.getLogger("noisy.part"), logging.getLogger("quiet")
    before = root.level, noisy.level, quiet.disabled, quiet.propagate
    try:
        root.setLevel(logging.ERROR)
        noisy.setLevel(logging.DEBUG)
        quiet.disabled, quiet.propagate = True, False
        with warnings.catch_warnings():
            warnings.simplefilter("error", ImportWarning)
            data = parent_state.describe_parent()
    finally:
        root.level, noisy.level, quiet.disabled, quiet.propagate = before

    def look():
        import logging
        import warnings

        quiet = logging.getLogger("quiet")
        levels = [logging.getLogger(n).getEffectiveLevel() for n in ("x", "noisy.part.sub")]
        try:
            warnings.warn("now", ImportWarning, stacklevel=1)
        except ImportWarning:
            return [*levels, quiet.disabled, quiet.propagate, "raised"]

    with BareWorker(prepare=data) as worker:
        assert worker.run(look) == [logging.ERROR, logging.DEBUG, True, False, "raised"]


def test_main_is_empty_and_knows_its_file():
    def look():
        import sys

        main = sys.modules["__main__"]
        return main.__name__, main.__spec__, getattr(main, "__file__", None)

    with BareWorker() as worker:
        expected = getattr(sys.modules["__main__"], "__file__", None)
        assert worker.run(look) == ("__main__", None, expected)


def test_a_worker_does_not_read_what_is_typed_for_the_parent():
    def read():
        import os
        import sys

        return sys.stdin.read(), os.read(0, 10)

    with BareWorker() as worker:
        assert worker.run(read) == ("", b"")


def test_an_orderly_exit_runs_what_tasks_registered_and_waits_for_their_threads(tmp_path):
    out = tmp_path / "out"

    def leave(path):
        import atexit
        import threading
        import weakref

        class Owner:
            pass

        def write(text):
            with open(path, "a") as file:
                file.write(text)

        leave.owner = Owner()
        atexit.register(write, "atexit ")
        weakref.finalize(leave.owner, write, "finalize ")
        started = threading.Event()
        thread = threading.Thread(target=lambda: (started.set(), write("thread ")))
        thread.start()
        started.wait()

    with BareWorker() as worker:
        worker.run(leave, str(out))
        assert worker.end() == 0
    assert out.read_text() == "thread finalize atexit "


def test_nothing_that_the_parent_registered_runs_in_a_forked_worker(tmp_path):
    text = """
import atexit, os, sys, tempfile, threading, weakref
from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor
from manyhands._worker import parent_state
class Owner: pass
owner = Owner()
atexit.register(print, "parent atexit", flush=True)
weakref.finalize(owner, print, "parent finalize", flush=True)
threading._register_atexit(print, "parent threading", flush=True)
directory = tempfile.TemporaryDirectory()
pool = ThreadPoolExecutor(1)
pool.submit(int).result()
data = parent_state.describe_parent()
pid = os.fork()
if pid == 0:
    parent_state.prepare(data, inherited=True)
    inner = ThreadPoolExecutor(1)
    print("worker", inner.submit(pow, 2, 3).result(), directory is not None)
    parent_state.finish()
    os._exit(0)
print("exit", os.waitpid(pid, 0)[1], os.path.isdir(directory.name), flush=True)
"""
    lines = run_script(text, tmp_path).splitlines()
    assert lines[:2] == ["worker 8 True", "exit 0 True"]
    assert sorted(lines[2:]) == ["parent atexit", "parent finalize", "parent threading"]


def test_in_a_forked_worker_globals_rebound_later_still_arrive(tmp_path):
    text = """
import os
from manyhands._pickling import codec
from manyhands._worker import parent_state
kept, rebound, mutated = "kept", "old", {}
def work():
    return kept, rebound, mutated
data = parent_state.describe_parent()
r, w = os.pipe(); r2, w2 = os.pipe()
pid = os.fork()
if pid == 0:
    parent_state.prepare(data, inherited=True)
    kept = "the worker's"
    mutated["in worker"] = 1
    fn = codec.loads(os.read(r, 1 << 16))
    print(fn(), flush=True)
    os._exit(0)
rebound = "new"
os.write(w, codec.dumps_function(work)[0])
os.waitpid(pid, 0)
"""
    assert run_script(text, tmp_path) == "(\"the worker's\", 'new', {'in worker': 1})\n"


def test_a_printed_line_survives_a_kill_right_after_it():
    code = (
        "import os, signal, sys\n"
        "from manyhands._worker import parent_state\n"
        "parent_state.prepare(parent_state.describe_parent())\n"
        "print('whole', 'line')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{HERE}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (-9, b"whole line\n")


def test_a_worker_without_standard_streams_can_be_prepared():
    code = (
        "import os, sys\n"
        "sys.stdout = sys.stderr = sys.stdin = None\n"
        "from manyhands._worker import parent_state\n"
        "parent_state.prepare(parent_state.describe_parent())\n"
        "parent_state.finish()\n"
        "os._exit(7)\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{HERE}"}
    assert subprocess.run([sys.executable, "-c", code], env=env, timeout=60).returncode == 7
