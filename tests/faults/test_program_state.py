"""A worker has the state of the program at the moment of its launch, whatever it is forked from.

Rights first: after the program has given something up, nothing that it starts has it still.
"""

import os

import pytest

pytestmark = [pytest.mark.timeout(180)]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")

STATE = """
import ctypes, os, resource, signal, sys
from manyhands import multiprocessing as mp
from manyhands.futures import ProcessPoolExecutor, WorkerCrashed

STATUS = ("Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Umask", "SigBlk", "SigIgn")


def prctl(*numbers):
    return ctypes.CDLL(None).prctl(*numbers)


def put_away(capabilities):
    data = (ctypes.c_uint32 * 6)()
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    libc = ctypes.CDLL(None)
    assert libc.capget(header, data) == 0
    for index in range(3):
        data[index] &= ~capabilities
    assert libc.capset(header, data) == 0


def state():
    # What the runtime itself needs of SIGINT and SIGTERM in a worker is no part of it.
    status = dict(line.rstrip().split(":", 1) for line in open("/proc/self/status"))
    known = {name: status[name].strip() for name in STATUS if not name.startswith("Sig")}
    for name in ("SigBlk", "SigIgn"):
        known[name] = [n for n in signal.valid_signals() if int(status[name], 16) >> n - 1 & 1]
        known[name] = sorted(set(known[name]) - {signal.SIGINT, signal.SIGTERM})
    known["limits"] = [resource.getrlimit(number) for number in range(16)]
    known["nice"] = os.nice(0)
    known["policy"] = os.sched_getscheduler(0)
    known["cpus"] = sorted(os.sched_getaffinity(0))
    known["score"] = open("/proc/self/oom_score_adj").read().strip()
    known["directory"] = os.stat(".").st_ino
    known["dumpable"] = prctl(3, 0, 0, 0, 0)
    known["securebits"] = prctl(27, 0, 0, 0, 0)
    return known


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def put_state(queue):
    queue.put(state())


def check(executor, what):
    compare(executor.submit(state).result(), what)


def compare(seen, what):
    wanted = state()
    wrong = {name: (seen[name], wanted[name]) for name in wanted if seen[name] != wanted[name]}
    assert not wrong, (what, wrong)


def check_all(living):
    for method in (None, "spawn", "fork"):
        with ProcessPoolExecutor(1, mp_context=method) as executor:
            check(executor, f"new pool, {method}")
    assert isinstance(living.submit(die).exception(), WorkerCrashed)
    check(living, "replaced worker of a living pool")
    for method in ("template", "spawn", "fork"):
        queue = mp.SimpleQueue()
        process = mp.get_context(method).Process(target=put_state, args=(queue,))
        process.start()
        process.join()
        compare(queue.get(), f"process, {method}")
"""

CHANGED = (
    STATE
    + """
if __name__ == "__main__":
    living = ProcessPoolExecutor(1)
    living.submit(abs, -1).result()
    {change}
    check_all(living)
    living.shutdown()
    print("all the same")
"""
)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("os.umask(0o027)", id="umask"),
        pytest.param("os.nice(5)", id="niceness"),
        pytest.param(
            "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))", id="scheduling class"
        ),
        pytest.param("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})", id="affinity"),
        pytest.param("resource.setrlimit(resource.RLIMIT_CORE, (0, 0))", id="hard limit"),
        pytest.param(
            "resource.setrlimit(resource.RLIMIT_NOFILE,"
            " (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))",
            id="soft limit",
        ),
        pytest.param("open('/proc/self/oom_score_adj', 'w').write('300')", id="oom_score_adj"),
        pytest.param("signal.signal(signal.SIGHUP, signal.SIG_IGN)", id="ignored signal"),
        pytest.param("signal.signal(signal.SIGPIPE, signal.SIG_DFL)", id="not ignored signal"),
        pytest.param(
            "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})", id="blocked signal"
        ),
        pytest.param("os.mkdir('d'); os.chdir('d')", id="directory"),
        pytest.param("os.mkdir('d'); os.chdir('d'); os.rmdir('../d')", id="removed directory"),
        pytest.param("prctl(4, 0, 0, 0, 0)", id="dumpable"),
        pytest.param("prctl(38, 1, 0, 0, 0)", id="no_new_privs"),
    ],
)
def test_what_the_program_changes_its_next_processes_have(run, change):
    finished = run(CHANGED.replace("{change}", change), timeout_seconds=120)
    assert (finished.err, finished.out, finished.status) == ("", "all the same\n", 0)


@as_root
@pytest.mark.parametrize(
    "change",
    [
        pytest.param("os.setgroups([12345])", id="supplementary groups"),
        pytest.param("os.setresgid(-1, -1, 12345)", id="saved group"),
        pytest.param("os.setresuid(-1, -1, 65534)", id="saved user"),
        pytest.param("put_away(1 << 21)", id="capability that a new program of root gets back"),
        pytest.param("put_away(1 << 21); prctl(24, 21, 0, 0, 0)", id="capability"),
        pytest.param("os.chroot('/')", id="chroot to the same place"),
        pytest.param("os.nice(5); os.nice(-8)", id="higher priority"),
    ],
)
def test_what_root_gives_up_or_takes_its_next_processes_do_too(run, change):
    finished = run(CHANGED.replace("{change}", change), timeout_seconds=120)
    assert (finished.err, finished.out, finished.status) == ("", "all the same\n", 0)


@as_root
@pytest.mark.parametrize(
    "drop",
    [
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)",
        "os.setegid(65534); os.seteuid(65534)",
        "os.setresuid(65534, 65534, 0)",
    ],
)
def test_after_a_drop_to_an_ordinary_user_no_task_runs_as_root(run, drop):
    source = """
import os
from manyhands import multiprocessing as mp
from manyhands.futures import ProcessPoolExecutor


def ids():
    return os.getresuid(), os.getresgid(), os.getgroups()


def put_ids(queue):
    queue.put(ids())


if __name__ == "__main__":
    os.chdir("/")
    with ProcessPoolExecutor(1) as executor:
        assert executor.submit(os.getuid).result() == 0
    # What only root can read it imports while it is root, as with the standard module.
    with mp.Pool(1) as pool:
        assert pool.apply(os.getuid) == 0
    process = mp.Process(target=put_ids, args=(mp.SimpleQueue(),))
    process.start()
    process.join()
    {drop}
    wanted = ids()
    assert wanted[0][1] == 65534
    # The interpreter may lie where only root can read it: the pools work all the same.
    for _ in range(2):
        with ProcessPoolExecutor(2) as executor:
            assert executor.submit(ids).result() == wanted
        with mp.Pool(1) as pool:
            assert pool.apply(ids) == wanted
        queue = mp.SimpleQueue()
        process = mp.Process(target=put_ids, args=(queue,))
        process.start()
        process.join()
        assert queue.get() == wanted
    print("nobody is root")
"""
    finished = run(source.replace("{drop}", drop))
    assert (finished.status, finished.out, finished.err) == (0, "nobody is root\n", "")


@as_root
def test_a_template_of_root_goes_when_a_pool_is_made_after_the_drop(run):
    source = """
import os, time
from manyhands.futures import ProcessPoolExecutor


def parent_and_user():
    return os.getppid(), os.getuid()


if __name__ == "__main__":
    os.chdir("/")
    living = ProcessPoolExecutor(1)
    template, uid = living.submit(parent_and_user).result()
    assert uid == 0
    os.setuid(65534)
    with ProcessPoolExecutor(1) as executor:
        assert executor.submit(os.getuid).result() == 65534
    try:
        while open(f"/proc/{template}/stat").read().rsplit(")")[-1].split()[0] not in "ZX":
            time.sleep(0.01)
    except FileNotFoundError:
        pass
    # A worker that lived before keeps what it had.
    assert living.submit(os.getuid).result() == 0
    living.shutdown()
    print("it is gone")
"""
    finished = run(source)
    assert (finished.status, finished.out, finished.err) == (0, "it is gone\n", "")


NO_INTERPRETER = """
import os, sys
from manyhands import multiprocessing as mp
from manyhands.futures import ProcessPoolExecutor

STARTED = os.path.abspath("started")


def square(number):
    return number * number


def pid_and_ppid():
    return os.getpid(), os.getppid()


if __name__ == "__main__":
    mp.freeze_support()
    with open("program", "w") as file:
        file.write(f"#!/bin/sh\\necho again >> {STARTED}\\nexec sleep 1000\\n")
    os.chmod("program", 0o755)
    PROGRAM = os.path.abspath("program")
    %s
    with ProcessPoolExecutor(2) as executor:
        assert list(executor.map(square, range(3))) == [0, 1, 4]
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as executor:
        assert len({executor.submit(os.getpid).result() for _ in range(3)}) == 3
    with mp.Pool(2) as pool:
        assert pool.map(square, range(3)) == [0, 1, 4]
    for method in ("template", "forkserver"):
        process = mp.get_context(method).Process(target=sys.exit, args=(3,))
        process.start()
        process.join()
        assert process.exitcode == 3
    for make in (
        lambda: ProcessPoolExecutor(1, mp_context="spawn").submit(abs, 1),
        mp.get_context("spawn").Process(target=abs, args=(1,)).start,
    ):
        try:
            make()
        except RuntimeError as error:
            assert "use start method 'fork'" in str(error), error
        else:
            raise AssertionError("something was started")
    assert not os.path.exists(STARTED), open(STARTED).read()
    print("it was not started")
"""


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param("sys.frozen = True; sys.executable = PROGRAM", id="frozen"),
        pytest.param(
            "sys.frozen = True; sys.executable = PROGRAM; mp.set_executable(PROGRAM)",
            id="frozen and told",
        ),
        pytest.param("sys.executable = PROGRAM; mp.set_executable(PROGRAM)", id="embedded"),
        pytest.param("mp.set_executable('/bin/false')", id="no interpreter"),
        pytest.param("mp.set_executable('/nowhere/python3')", id="gone"),
    ],
)
def test_a_program_that_can_start_no_interpreter_is_not_started_again(run, setting):
    finished = run(NO_INTERPRETER % setting)
    assert (finished.status, finished.out, finished.err) == (0, "it was not started\n", "")


DAEMON = """
import os, sys, time, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
from manyhands import multiprocessing as mp
from manyhands.futures import ProcessPoolExecutor


def square(number):
    return number * number


def put(queue):
    queue.put(5)


def serve():
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(3, 2048)
    # What is opened now gets the numbers that were closed, and must stay as it is.
    files = [open(f"file{number}", "w") for number in range(30)]
    with ProcessPoolExecutor(2) as executor:
        assert list(executor.map(square, range(3))) == [0, 1, 4]
    with mp.Pool(2) as pool:
        assert pool.map(square, range(3)) == [0, 1, 4]
    queue = mp.Queue()
    process = mp.Process(target=put, args=(queue,))
    process.start()
    assert queue.get() == 5
    process.join()
    ours, theirs = mp.Pipe()
    process = mp.Process(target=theirs.send, args=("hello",))
    process.start()
    assert ours.recv() == "hello"
    process.join()
    del queue, ours, theirs, process
    for file in files:
        file.write("ours")
        file.close()
    assert all(open(file.name).read() == "ours" for file in files)


if __name__ == "__main__":
    kept = []
    if {used_before}:
        with ProcessPoolExecutor(1) as executor:
            executor.submit(square, 3).result()
        kept = [mp.Queue(), mp.Value("i"), mp.Pipe(), mp.Lock()]
        kept[0].put(1)
    reader, writer = os.pipe()
    os.dup2(writer, 2)  # Stays open in the daemon: its end is seen, and what it has to say.
    if os.fork() == 0:
        try:
            serve()
            os.write(2, b"served")
        except BaseException:
            import traceback
            os.write(2, traceback.format_exc().encode())
        os._exit(0)
    os.close(writer)
    os.close(2)
    told = b""
    while chunk := os.read(reader, 65536):
        told += chunk
    print(told.decode())
"""


@pytest.mark.parametrize("used_before", [False, True])
def test_a_daemon_that_closed_every_descriptor_has_pools(run, used_before):
    source = DAEMON.replace("{used_before}", str(used_before))
    finished = run(source)
    assert (finished.status, finished.out) == (0, "served\n")


@pytest.mark.parametrize("method", ["template", "spawn", "fork"])
def test_what_was_printed_before_a_pool_is_written_once(run, method):
    source = f"""
from manyhands.futures import ProcessPoolExecutor

if __name__ == "__main__":
    print("once")
    with ProcessPoolExecutor(2, mp_context={method!r}) as executor:
        executor.submit(abs, -1).result()
"""
    finished = run(source, env={"PYTHONUNBUFFERED": ""})
    assert (finished.out.count("once"), finished.err) == (1, "")
