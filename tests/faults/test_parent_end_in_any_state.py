"""The parent is killed, or runs another program, whatever its descendants are doing at that moment.

A watch that lives in a thread of the child is no watch before the interpreter has started, nor in a
stopped process; and a parent that calls ``os.execv`` does not end at all. Each state here lasts
until somebody ends it: a test that passes has seen the descendants end in that very state.
"""

import signal

import family_watch
import pytest

pytestmark = pytest.mark.timeout(180)

METHODS = ["template", "spawn", "fork"]

#: Imported by every interpreter: those that are asked to never get past it.
BOOT = """
import os
if "STAY_IN_BOOT" in os.environ:
    import time
    os.close(os.open(os.environ["STAY_IN_BOOT"], os.O_CREAT | os.O_WRONLY))
    time.sleep(1000)
"""

HEAD = """
import os, signal, sys, threading, time
import family_watch, hostile_tasks as tasks
from manyhands import multiprocessing
from manyhands.futures import ProcessPoolExecutor
from manyhands.multiprocessing import parent_process

def stopped(pid):
    return family_watch._state_of(pid) == "T"
"""

#: How a program runs another one in its place: a sleeper that tells what it has inherited.
EXEC = """
sys.stdout.flush()
os.execv(sys.executable, [sys.executable, "-c", '''
import os, signal, time
fds = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
print("inherited", sorted(map(int, fds)), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
print("ready", flush=True)
time.sleep(1000)
'''])
"""

READY = """
print("ready", flush=True)
time.sleep(1000)
"""


def kill(family):
    family.wait_for_line("ready")
    others = set(family.pids()) - {family.process.pid}
    assert others, "there is nobody to survive: the test looks at nothing"
    family.process.kill()
    assert family.wait().status == -signal.SIGKILL
    family.assert_gone()


def run_another_program(family, expected=()):
    family.wait_for_line("ready")
    stay = {family.process.pid, *expected}
    family_watch.wait_until(lambda: set(family.pids()) == stay, "only the new program is left")
    assert "inherited [0, 1, 2] []" in family.out


ENDS = pytest.mark.parametrize(
    ("end", "then"), [(kill, READY), (run_another_program, EXEC)], ids=["killed", "exec"]
)


@ENDS
@pytest.mark.parametrize("method", ["template", "spawn"])
def test_who_has_not_got_through_the_start_of_its_interpreter_ends(
    program, tmp_path, method, end, then
):
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "sitecustomize.py").write_text(BOOT)
    mark = tmp_path / "mark"
    source = f"""{HEAD}
os.environ["PYTHONPATH"] = {str(tmp_path / "boot")!r} + os.pathsep + os.environ["PYTHONPATH"]
os.environ["STAY_IN_BOOT"] = {str(mark)!r}
executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r}))
executor.submit(abs, 1)
family_watch.wait_until(lambda: os.path.exists({str(mark)!r}), "it is in the middle of its start")
del os.environ["STAY_IN_BOOT"]
{then}"""
    end(program(source))


@ENDS
def test_a_template_in_the_middle_of_an_import_ends(program, tmp_path, end, then):
    (tmp_path / "endless_import.py").write_text(
        "import os, time\n"
        f"os.close(os.open({str(tmp_path / 'mark')!r}, os.O_CREAT | os.O_WRONLY))\n"
        "time.sleep(1000)\n"
    )
    source = f"""{HEAD}
sys.path.insert(0, {str(tmp_path)!r})
executor = ProcessPoolExecutor(2, preload=("endless_import",))
executor.submit(abs, 1)
family_watch.wait_until(lambda: os.path.exists({str(tmp_path / "mark")!r}), "it imports")
{then}"""
    end(program(source))


@ENDS
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("looks", [False, True], ids=["blind", "looking"])
def test_a_stopped_process_ends(program, method, looks, end, then):
    source = f"""{HEAD}
def stop():
    if {looks}:
        assert parent_process().is_alive()
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1000)

process = multiprocessing.get_context({method!r}).Process(target=stop)
process.start()
family_watch.wait_until(lambda: stopped(process.pid), "it is stopped")
{then}"""
    end(program(source))


@ENDS
def test_stopped_workers_and_their_stopped_template_end(program, end, then):
    source = f"""{HEAD}
executor = ProcessPoolExecutor(2)
template = executor.submit(os.getppid).result()
executor.submit(tasks.spin_in_python)
for pid in [*executor._processes, template]:
    os.kill(pid, signal.SIGSTOP)
    family_watch.wait_until(lambda: stopped(pid), "it is stopped")
{then}"""
    end(program(source))


@ENDS
@pytest.mark.parametrize("method", METHODS)
def test_a_process_that_asks_after_its_parent_ends(program, method, end, then):
    source = f"""{HEAD}
def ask(asked):
    assert parent_process().is_alive()
    asked.set()
    time.sleep(1000)

context = multiprocessing.get_context({method!r})
asked = context.Event()
context.Process(target=ask, args=(asked,)).start()
asked.wait()
{then}"""
    end(program(source))


@ENDS
@pytest.mark.parametrize("method", METHODS)
def test_processes_of_processes_and_workers_of_workers_end(program, method, end, then):
    source = f"""{HEAD}
context = multiprocessing.get_context({method!r})
running = context.Semaphore(0)

def stay(running):
    running.release()
    time.sleep(1000)

def nest(running):
    context = multiprocessing.get_context({method!r})
    context.Process(target=stay, args=(running,)).start()
    with ProcessPoolExecutor(1, mp_context=context) as inner:
        inner.submit(stay, running).result()

context.Process(target=nest, args=(running,)).start()
executor = ProcessPoolExecutor(1, mp_context=context)
executor.submit(nest, running)
for _ in range(4):
    running.acquire()
{then}"""
    end(program(source))


@pytest.mark.parametrize("method", METHODS)
def test_a_fork_that_lives_on_keeps_nobody_alive_after_an_exec(program, tmp_path, method):
    source = f"""{HEAD}
context = multiprocessing.get_context({method!r})
executor = ProcessPoolExecutor(1, mp_context=context)
executor.submit(abs, 1).result()
context.Process(target=time.sleep, args=(1000,)).start()
bystander = os.fork()
if bystander == 0:
    time.sleep(1000)
family_watch.Marks({str(tmp_path / "mark")!r}).add(bystander)
{EXEC}"""
    family = program(source)
    marks = family_watch.Marks(str(tmp_path / "mark"))
    (bystander,) = family_watch.wait_until(marks.read, "it has forked")
    run_another_program(family, expected=[int(bystander)])
    family_watch.kill_member(int(bystander), family.token)


@pytest.mark.parametrize("method", METHODS)
def test_a_fork_that_runs_another_program_ends_nobody(run, method):
    finished = run(
        f"""{HEAD}
context = multiprocessing.get_context({method!r})
executor = ProcessPoolExecutor(1, mp_context=context)
before = executor.submit(os.getpid).result()
process = context.Process(target=time.sleep, args=(1000,))
process.start()
if os.fork() == 0:
    os.execv("/bin/true", ["true"])
os.wait()
assert executor.submit(os.getpid).result() == before
assert process.is_alive()
process.kill()
process.join()
executor.shutdown()
print("all lived on")
"""
    )
    assert (finished.status, finished.out) == (0, "all lived on\n"), finished.err


@ENDS
@pytest.mark.parametrize("method", METHODS)
def test_who_may_be_an_orphan_lives_on_and_can_see_the_end(program, tmp_path, method, end, then):
    mark = tmp_path / "mark"
    source = f"""{HEAD}
def outlive(running):
    running.set()
    parent_process().join()
    family_watch.Marks({str(mark)!r}).add(f"{{parent_process().is_alive()}} {{os.getpid()}}")

context = multiprocessing.get_context({method!r})
running = context.Event()
context.Process(target=outlive, args=(running,), orphan_ok=True).start()
running.wait()
{then}"""
    end(program(source))
    (line,) = family_watch.wait_until(family_watch.Marks(str(mark)).read, "it has outlived it")
    assert line.split()[0] == "False"


def test_launches_under_way_leave_nobody(program):
    # Whoever is forked by the template at the very moment is nobody's child yet.
    for delay in (0.0, 0.01, 0.03, 0.1):
        family = program(
            f"""{HEAD}
print("ready", flush=True)
while True:
    processes = [multiprocessing.Process(target=abs, args=(1,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
"""
        )
        family.wait_for_line("ready")
        # The moment is the subject of this test, not a synchronisation.
        signal.sigtimedwait([], delay)
        family.process.kill()
        family.wait()
        family.assert_gone()
