"""What SECURITY.md promises: another user reads nothing of a family, and opens nothing of it."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import family_watch
import pytest
import stranger

pytestmark = pytest.mark.timeout(120)

NOBODY = 65534

#: Every kind of thing that lives between processes.
PROGRAM = """
import os, time
from manyhands import multiprocessing
from manyhands.futures import ProcessPoolExecutor

def use(connection, queue, lock, value):
    with lock:
        connection.fileno()
        queue.put(value.value)
    return os.getpid()

if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    ours.fileno()
    queue, lock = multiprocessing.Queue(), multiprocessing.Lock()
    value = multiprocessing.Value("i", 7)
    with ProcessPoolExecutor(2) as pool:
        pool.submit(use, theirs, queue, lock, value).result()
        assert queue.get() == 7
        process = multiprocessing.Process(target=time.sleep, args=(1000,), daemon=True)
        process.start()
        print("ready", flush=True)
        time.sleep(1000)
"""


@pytest.fixture
def family(program):
    started = program(PROGRAM)
    started.wait_for_line("ready")
    return started


def start_stranger(uid, pids):
    command = [sys.executable, stranger.__file__, str(uid), *map(str, pids)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_opens_nothing_and_is_answered_nothing(family):
    pids = family.pids()
    with start_stranger(NOBODY, pids) as other:
        got = json.loads(other.stdout.readline())
        # A broker answers in turn: when we have our answer, the other has had its.
        mine = [stranger.question_at(broker) for broker in stranger.brokers()]
        assert mine, "the pipe's descriptor is asked for at a broker"
        assert all(stranger.is_answered(question, 60) for question in mine)
        answers, _ = other.communicate("")
    assert got == {"openable": [], "taken": [], "signalled": [], "traced": []}
    assert json.loads(answers) == [False] * len(mine)
    for question in mine:
        question.close()


def test_the_same_user_is_promised_nothing_which_shows_that_the_stranger_tries(family):
    with start_stranger(0, family.pids()) as same:
        got = json.loads(same.stdout.readline())
        same.communicate("")
    assert any("/fd/" in place for place in got["openable"])
    assert set(got["signalled"]) == set(family.pids())


def test_what_a_family_shares_has_no_name_in_the_file_system(family):
    seen = 0
    for pid in family.pids():
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target, about = entry.readlink(), entry.stat()
            except FileNotFoundError:
                continue  # It was closed in the meantime.
            if "manyhands" not in str(target) and "memfd" not in str(target):
                continue
            assert stat.S_ISREG(about.st_mode)
            assert about.st_nlink == 0, f"{target} can be opened by its name"
            seen += 1
    assert seen, "no shared memory was looked at"
    family_watch.wait_until(lambda: not list(Path("/dev/shm").glob("*manyhands*")), "no name")
