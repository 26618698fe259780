"""Processes, templates and parents that are killed, starts that fail, forks in the middle."""

import contextlib
import gc
import os
import pickle
import random
import resource
import signal
import socket
import textwrap
import threading
import time
from multiprocessing import resource_tracker

import pytest
from manyhands import multiprocessing

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def wait_for_ever():
    threading.Event().wait()


def template_of(process):
    """The process id of the template that forked it."""
    with open(f"/proc/{process.pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("delay_s", [0, 0.0003, 0.001, 0.003, 0.01, 0.05])
def test_a_kill_at_any_moment_is_an_exit_like_any_other(context, delay_s):
    for _ in range(5):
        process = context.Process(target=wait_for_ever)
        process.start()
        threading.Event().wait(delay_s * random.random())
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert process.exception.signal == signal.SIGKILL


def test_a_killed_template_costs_nothing_but_the_reason_of_a_death():
    context = multiprocessing.get_context("template")
    running = context.Process(target=wait_for_ever)
    running.start()
    receiving, sending = context.Pipe(duplex=False)
    finishing = context.Process(target=sending.send, args=("done",))
    finishing.start()
    os.kill(template_of(running), signal.SIGKILL)
    assert running.is_alive()
    assert receiving.recv() == "done"
    finishing.join()
    assert finishing.exitcode == 0, "what the process said itself is known"
    later = context.Process(target=abs, args=(-1,))
    later.start()
    assert later.result() == 1
    running.kill()
    running.join()
    # Linux before 6.15 does not tell if somebody else has reaped the process.
    kernel_tells = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)
    known = {-signal.SIGKILL} if kernel_tells else {-signal.SIGKILL, 255}
    assert running.exitcode in known
    assert not running.is_alive()


def test_a_process_whose_template_was_killed_tells_its_own_exit_code(tmp_path):
    context = multiprocessing.get_context("template")
    release = tmp_path / "release"
    os.mkfifo(release)
    process = context.Process(target=read_and_exit, args=(str(release),))
    process.start()
    os.kill(template_of(process), signal.SIGKILL)
    release.write_text("go")
    process.join()
    assert process.exitcode == 9


def read_and_exit(path):
    with open(path) as file:
        file.read()
    raise SystemExit(9)


class Unpicklable:
    def __reduce__(self):
        raise pickle.PicklingError("made of glass")


def test_a_start_that_fails_leaves_nothing_and_can_be_repeated(context):
    if context.get_start_method() == "fork":
        pytest.skip("nothing is pickled for a fork")
    heap_user = multiprocessing.SimpleQueue()  # Else the family heap, too, comes and goes.
    gc.collect()  # The process of the test before may hang on the traceback of its failure.
    n_fds = len(os.listdir("/proc/self/fd"))
    glass = Unpicklable()
    process = context.Process(target=print, args=(glass,))
    with pytest.raises(pickle.PicklingError, match="made of glass"):
        process.start()
    assert process.pid is None
    assert len(os.listdir("/proc/self/fd")) == n_fds
    process._args = ()
    process.start()
    process.join()
    assert process.exitcode == 0
    assert heap_user.empty()


REFUSED_FORK = """
    import os, resource
    from manyhands import multiprocessing
    context = multiprocessing.get_context({method!r})
    first = context.Process(target=int)
    first.start(); first.join()
    def refused():
        raise BlockingIOError(11, "Resource temporarily unavailable")
    os.fork = refused
    process = context.Process(target=int)
    try:
        process.start()
    except OSError as error:
        print("refused", process.pid, multiprocessing.active_children())
"""


def test_a_fork_that_is_refused_is_an_error_of_start(program):
    status, out, _ = program(textwrap.dedent(REFUSED_FORK).format(method="fork")).wait(60)
    assert (status, out.split()) == (0, ["refused", "None", "[]"])


def hold(shared, sock):
    """What a process of a start that fails would do: it never ends, and holds what it was sent."""
    shared.put("held")
    threading.Event().wait()


def fill_descriptors():
    fillers = []
    with contextlib.suppress(OSError):
        while True:
            fillers.append(os.dup(0))
    return fillers


def open_fds():
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def test_no_descriptor_left_is_an_error_of_start_and_nothing_stays(context):
    shared = multiprocessing.SimpleQueue()
    warm = context.Process(target=int)
    warm.start()
    warm.join()
    del warm
    children, before = multiprocessing.active_children(), open_fds()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_failed = 0
    for room in range(1, 14):
        # Whoever holds the other end of the socket is alive.
        ours, theirs = socket.socketpair()
        process = context.Process(target=hold, args=(shared, theirs))
        open_fds()
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        fillers = fill_descriptors()
        for _ in range(room):
            os.close(fillers.pop())
        try:
            process.start()
        except OSError:
            n_failed += 1
            assert process.pid is None
        else:
            process.kill()
            process.join()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for fd in fillers:
                os.close(fd)
        del process
        theirs.close()
        with ours:
            ours.settimeout(30)
            assert ours.recv(1) == b"", "nobody has the process's descriptors any more"
        assert multiprocessing.active_children() == children
    assert n_failed >= 2
    # The thread that tells of an end lets go of the process a moment afterwards.
    while not open_fds() <= before:
        time.sleep(0.01)
    while not shared.empty():
        assert shared.get() == "held", "what was sent is whole"
    process = context.Process(target=abs, args=(-1,))
    process.start()
    assert process.result() == 1


def test_ctrl_c_during_a_start_ends_the_process_before_start_raises():
    context = multiprocessing.get_context("template")
    shared = multiprocessing.SimpleQueue()
    running = context.Process(target=wait_for_ever)
    running.start()
    before = open_fds()
    template = template_of(running)
    ours, theirs = socket.socketpair()
    process = context.Process(target=hold, args=(shared, theirs))
    os.kill(template, signal.SIGSTOP)
    main = threading.main_thread().ident
    timers = [
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)),
        threading.Timer(0.6, os.kill, (template, signal.SIGCONT)),
    ]
    for timer in timers:
        timer.start()
    with pytest.raises(KeyboardInterrupt):
        process.start()
    for timer in timers:
        timer.join()
    assert process.pid is None
    theirs.close()
    with ours:
        ours.setblocking(False)
        assert ours.recv(1) == b"", "it has ended"
    # The thread that tells of an end lets go of the process a moment afterwards.
    while not open_fds() <= before:
        time.sleep(0.01)
    shared.put("mine")
    assert shared.get() in ("held", "mine"), "what was sent is whole"
    running.kill()
    running.join()


def count(*args):
    return len(args)


def test_more_descriptors_than_can_be_sent_are_an_error_that_says_so(context, monkeypatch):
    if context.get_start_method() == "fork":
        pytest.skip("nothing is sent to a fork")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    sockets = [each for _ in range(125) for each in socket.socketpair()]
    # One that another test has started would be sent along, and counted.
    monkeypatch.setattr(resource_tracker._resource_tracker, "_fd", None)
    try:
        before = open_fds()
        process = context.Process(target=count, args=sockets)
        with pytest.raises(OSError, match=r"250 descriptors .* at most 23\d can be sent"):
            process.start()
        assert process.pid is None
        assert open_fds() <= before
        process._args = sockets[:230]
        process.start()
        assert process.result() == 230
    finally:
        for each in sockets:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


DAEMON = """
    import os, sys
    for fd in {closed}:
        os.close(fd)
    from manyhands import multiprocessing
    def chatter():
        for fd in (1, 2):
            os.write(fd, b"lost\\n" * 100)
        return os.getpid()
    context = multiprocessing.get_context({method!r})
    with open({told!r}, "w") as told:
        for _ in range(3):
            process = context.Process(target=chatter)
            process.start()
            pid, known = process.pid, multiprocessing.active_children()
            print(process.result() == pid, process.exitcode, file=told)
        # What the program prints must not land in what it shares.
        standard = [f"/proc/self/fd/{{fd}}" for fd in range(3)]
        print([link for link in standard
               if os.path.exists(link) and "manyhands" in os.readlink(link)], file=told)
"""


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("method", ["template", "spawn", "forkserver"])
def test_a_program_without_standard_output_starts_processes(program, method, closed, tmp_path):
    told = tmp_path / "told"
    source = textwrap.dedent(DAEMON).format(closed=closed, method=method, told=str(told))
    status, _, errors = program(source).wait(60)
    assert (status, errors.replace("lost\n", "")) == (0, "")
    assert told.read_text().splitlines() == ["True 0"] * 3 + ["[]"]


PARENT = """
    import os, signal, threading
    from manyhands import multiprocessing
    context = multiprocessing.get_context({method!r})
    def live(depth):
        if depth:
            child = context.Process(target=live, args=(depth - 1,))
            child.start()
        print("ready", flush=True)
        threading.Event().wait()
    children = [context.Process(target=live, args=(1,)) for _ in range(2)]
    for child in children:
        child.start()
    threading.Event().wait()
"""


@pytest.mark.parametrize("method", ["template", "spawn", "fork"])
def test_no_descendant_outlives_a_killed_parent(program, method):
    family = program(textwrap.dedent(PARENT).format(method=method))
    while family.out.count("ready") < 4:
        assert family.process.poll() is None, family.err
        time.sleep(0.005)  # Waiting for what must come; the watchdog ends it if it does not.
    family.process.kill()
    family.process.wait()


ORPHAN = """
    import os, sys, threading
    from manyhands import multiprocessing
    def outlive():
        print("ready", flush=True)
        sys.stdin = None
        with open({fifo!r}) as file:
            file.read()
        with open({done!r}, "w") as file:
            file.write("I lived on")
    context = multiprocessing.get_context({method!r})
    context.Process(target=outlive, orphan_ok=True).start()
    threading.Event().wait()
"""


@pytest.mark.parametrize("method", ["template", "spawn", "fork"])
def test_an_orphan_that_may_be_one_lives_on(program, method, tmp_path):
    fifo, done = tmp_path / "fifo", tmp_path / "done"
    os.mkfifo(fifo)
    os.mkfifo(done)
    family = program(textwrap.dedent(ORPHAN).format(fifo=str(fifo), done=str(done), method=method))
    family.wait_for_line("ready")
    family.process.kill()
    family.process.wait()
    fifo.write_text("go")
    assert done.read_text() == "I lived on"


INTERRUPTED = """
    import threading, time
    from manyhands import multiprocessing
    def nap():
        print("ready", flush=True)
        time.sleep(1000)
    process = multiprocessing.get_context({method!r}).Process(target=nap)
    process.start()
    process.join()
"""


@pytest.mark.parametrize("method", ["template", "spawn", "fork"])
def test_ctrl_c_ends_a_program_that_joins_and_its_processes(program, method):
    family = program(textwrap.dedent(INTERRUPTED).format(method=method))
    family.wait_for_line("ready")
    os.killpg(family.process.pid, signal.SIGINT)
    status, _, errors = family.wait(60)
    assert status == -signal.SIGINT
    assert "KeyboardInterrupt" in errors


AT_EXIT = """
    import atexit, sys, time
    from manyhands import multiprocessing
    context = multiprocessing.get_context({method!r})
    def leave():
        atexit.register(print, "child's own exit function")
        time.sleep(0.2)
        print("joined at exit")
    context.Process(target=leave).start()
    context.Process(target=time.sleep, args=(1000,), daemon=True).start()
    atexit.register(print, "parent's exit function")
"""


@pytest.mark.parametrize("method", ["template", "spawn", "fork"])
def test_the_end_of_a_program_joins_processes_and_ends_daemons(program, method):
    status, out, errors = program(
        textwrap.dedent(AT_EXIT).format(method=method), flags=["-W", "error"]
    ).wait(60)
    assert (status, errors) == (0, "")
    assert sorted(out.splitlines()) == [
        "child's own exit function",
        "joined at exit",
        "parent's exit function",
    ]


def send_over(connection, text):
    connection.sendall(text)
    connection.close()


def test_sockets_travel_to_processes(context):
    ours, theirs = socket.socketpair()
    process = context.Process(target=send_over, args=(theirs, b"hello"))
    process.start()
    theirs.close()
    with ours:
        assert ours.recv(100) == b"hello"
        process.join()
        assert ours.recv(100) == b""
    assert process.exitcode == 0


def test_a_fork_in_the_middle_has_its_own_processes(context):
    running = context.Process(target=wait_for_ever)
    running.start()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            process = context.Process(target=abs, args=(-5,))
            process.start()
            status = 0 if process.result() == 5 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert running.is_alive()
    running.kill()
    running.join()


def test_in_a_fork_the_processes_of_its_parent_are_somebody_elses(context):
    running = context.Process(target=wait_for_ever)
    running.start()
    to_fork, from_parent = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.read(to_fork, 1)
            if running.exitcode is not None:
                os._exit(3)
            process = context.Process(target=abs, args=(-5,))
            process.start()  # Looks after all others as well.
            status = 0 if process.result() == 5 else 2
        finally:
            os._exit(status)
    running.kill()
    running.join()
    os.write(from_parent, b"!")
    os.close(to_fork)
    os.close(from_parent)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert running.exitcode == -signal.SIGKILL


def test_a_program_that_reaps_every_child_itself_does_not_hang_a_join():
    context = multiprocessing.get_context("fork")
    process = context.Process(target=abs, args=(-1,))
    process.start()
    os.waitpid(process.pid, 0)
    process.join()
    assert process.exitcode == 0, "the process said so itself"
