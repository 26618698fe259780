"""Raise, report or off: by call, by environment variable, by `manyhands run --deadlock=`."""

import subprocess
import sys

import pytest

TWO_LOCKS = """
import threading as standard, time
from manyhands.threading import *
{before}
locks, meet, outcomes = [Lock(name="salt"), Lock(name="pepper")], standard.Barrier(2), []
def take(first, second):
    with first:
        meet.wait()
        try:
            second.acquire()
            second.release()
            outcomes.append("taken")
        except DeadlockError:
            outcomes.append("told")
threads = [standard.Thread(target=take, args=order, daemon=True) for order in (locks, locks[::-1])]
for thread in threads: thread.start()
for thread in threads: thread.join({timeout})
print(sorted(outcomes), deadlock_mode())
"""
# Long enough for many looks, where the threads must go on waiting.
STUCK_S = 1.5


def two_locks(before="", timeout="60"):
    return TWO_LOCKS.format(before=before, timeout=timeout)


def test_raise_is_the_default(run):
    ended = run(two_locks())
    assert (ended.stdout, ended.stderr) == ("['taken', 'told'] raise\n", "")


@pytest.mark.parametrize("how", ["call", "environment"])
def test_off_looks_at_nothing(how, run):
    before = "set_deadlock_mode('off')" if how == "call" else ""
    variables = {} if how == "call" else {"MANYHANDS_DEADLOCK": "off"}
    ended = run(two_locks(before, STUCK_S), **variables)
    assert (ended.stdout, ended.stderr) == ("[] off\n", "")


@pytest.mark.parametrize("how", ["call", "environment"])
def test_report_prints_once_and_lets_the_threads_wait(how, run):
    before = "set_deadlock_mode('report')" if how == "call" else ""
    variables = {} if how == "call" else {"MANYHANDS_DEADLOCK": "report"}
    ended = run(two_locks(before, STUCK_S), **variables)
    assert ended.stdout == "[] report\n"
    assert ended.stderr.startswith("manyhands: deadlock: 2 threads wait for each other")
    assert '"salt"' in ended.stderr
    assert ended.stderr.count("manyhands: deadlock:") <= 2, "each of the two may say it once"


def test_a_call_overrides_the_environment(run):
    ended = run(two_locks("set_deadlock_mode('raise')"), MANYHANDS_DEADLOCK="off")
    assert ended.stdout == "['taken', 'told'] raise\n"


def test_report_mode_goes_on_when_the_deadlock_is_resolved(run):
    ended = run("""
import threading as standard, time
from manyhands.threading import *
set_deadlock_mode("report")
lock = Lock(name="salt")
lock.__enter__()
def free():
    time.sleep(0.7)
    lock.release()
standard.Thread(target=free).start()
lock.acquire()
print("taken")
""")
    assert ended.stdout == "taken\n"
    assert ended.stderr.count("manyhands: deadlock:") == 1
    assert ended.returncode == 0


@pytest.mark.parametrize("mode", ["loud", "", "RAISE", None, 1])
def test_another_mode_is_refused_with_the_ones_there_are(mode, run):
    ended = run(f"from manyhands.threading import *\nset_deadlock_mode({mode!r})")
    assert ended.returncode == 1
    if isinstance(mode, str):
        assert "must be 'raise', 'report' or 'off'" in ended.stderr
        assert "ValueError" in ended.stderr
    else:
        assert "TypeError" in ended.stderr


def test_a_wrong_environment_variable_is_explained_and_does_not_stop_the_program(run):
    ended = run(two_locks(), MANYHANDS_DEADLOCK="loud")
    assert ended.stdout == "['taken', 'told'] raise\n"
    assert "MANYHANDS_DEADLOCK" in ended.stderr
    assert "'report'" in ended.stderr or "report" in ended.stderr


@pytest.mark.parametrize("mode", ["raise", "report", "off"])
def test_the_command_sets_the_mode_of_the_program(mode, run):
    source = two_locks(timeout=STUCK_S).replace(
        "from manyhands.threading import *",
        "from threading import *; from manyhands.threading import DeadlockError, deadlock_mode",
    )
    ended = run(source, command=("-m", "manyhands", "run", f"--deadlock={mode}"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ("['taken', 'told'] raise\n" if mode == "raise" else f"[] {mode}\n")
    assert ("manyhands: deadlock:" in ended.stderr) is (mode == "report")


def test_the_command_reaches_the_processes_that_the_program_starts(run):
    ended = run(
        """
import subprocess, sys
SHOW = "from manyhands.threading import deadlock_mode; print(deadlock_mode())"
print(subprocess.check_output([sys.executable, "-c", SHOW], text=True), end="")
""",
        command=("-m", "manyhands", "run", "--deadlock=report"),
    )
    assert ended.stdout == "report\n", ended.stderr


@pytest.mark.parametrize(
    "option", ["--deadlock", "--deadlock=", "--deadlock=loud", "--deadlocks=off"]
)
def test_a_wrong_option_of_the_command_is_one_sentence_and_status_2(option, environment, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "manyhands", "run", option, "program.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("manyhands: ")
    assert "--deadlock=raise" in ended.stderr
    assert ended.stderr.count("\n") == 1
