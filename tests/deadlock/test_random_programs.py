"""Two hundred random programs: every deadlock among them is found, and none is invented."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import lock_programs
import oracle
import pytest

WORKER = pathlib.Path(__file__).with_name("program_worker.py")
N_PROGRAMS = 200
# Programs sleep most of the time.
N_PROCESSES = 8
# A program that takes longer hangs: nobody found its deadlock.
WATCHDOG_S = 25
# More than this many in one process prove the point.
MAX_HANGS = 4
SEED = int(os.environ.get("MANYHANDS_DEADLOCK_SEED", "3"))

pytestmark = pytest.mark.timeout(400)


def answers_of(programs, environment):
    """Runs programs one after the other in one process, and in a fresh one after each hang."""
    answers, n_hangs = {}, 0
    while left := [program for program in programs if program["id"] not in answers]:
        if n_hangs == MAX_HANGS:
            return answers | {program["id"]: {"hangs": True, "stderr": ""} for program in left}
        worker = subprocess.Popen(
            [sys.executable, WORKER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with worker:
            feeding = threading.Thread(target=feed, args=(worker, left))
            feeding.start()
            for program in left:
                watchdog = threading.Timer(WATCHDOG_S, show_stacks_and_end, [worker])
                watchdog.start()
                line = worker.stdout.readline()
                watchdog.cancel()
                watchdog.join()
                if not line:
                    worker.kill()
                    n_hangs += 1
                    answers[program["id"]] = {"hangs": True, "stderr": worker.stderr.read()}
                    break
                answer = json.loads(line)
                answers[answer["id"]] = answer
            feeding.join()
    return answers


def show_stacks_and_end(worker):
    worker.send_signal(signal.SIGUSR1)
    time.sleep(1)  # For the stacks to be written.
    worker.kill()


def feed(worker, programs):
    try:
        with worker.stdin:
            worker.stdin.writelines(json.dumps(program) + "\n" for program in programs)
    except BrokenPipeError:
        pass  # It was killed: its programs will be fed to the next one.


def judge(program, answer):
    """What is wrong with an answer; None if nothing is."""
    if answer.get("hangs"):
        return f"hangs {answer['stderr']}"
    if answer["surprises"]:
        return f"surprises: {answer['surprises']}"
    if program["verdict"] == oracle.ALWAYS and not answer["errors"]:
        return "a deadlock that was not found"
    if program["verdict"] == oracle.NEVER and answer["errors"]:
        return f"invented: {answer['errors'][0]}"
    return None


def test_all_deadlocks_are_found_and_none_is_invented(environment):
    programs = list(lock_programs.programs(N_PROGRAMS, SEED))
    parts = [programs[part::N_PROCESSES] for part in range(N_PROCESSES)]
    answers = {}
    with ThreadPoolExecutor(N_PROCESSES) as pool:
        for part in pool.map(answers_of, parts, [environment] * N_PROCESSES):
            answers |= part
    wrong = {
        program["id"]: (fault, program)
        for program in programs
        if (fault := judge(program, answers[program["id"]]))
    }
    listed = "\n".join(f"{name}: {fault}\n   {json.dumps(p)}" for name, (fault, p) in wrong.items())
    assert not wrong, f"{len(wrong)} of {N_PROGRAMS} programs (seed {SEED}):\n{listed}"


def test_half_of_the_programs_deadlock_and_every_kind_occurs():
    programs = list(lock_programs.programs(N_PROGRAMS, SEED))
    verdicts = [program["verdict"] for program in programs]
    assert verdicts.count(oracle.ALWAYS) == verdicts.count(oracle.NEVER) == N_PROGRAMS // 2
    made_by = {program["id"].split("-")[2] for program in programs}
    assert made_by == {make.__name__ for make in (*lock_programs.DEADLOCKING, *lock_programs.FREE)}
    ways = {each["run_as"] for program in programs for each in program["threads"]}
    assert ways == set(lock_programs.RESCUERS) - {"io"} | {"thread"}
    kinds = {kind for program in programs for kind in program["locks"]}
    assert kinds == set(lock_programs.KINDS)


def program_of(*threads, locks=("Lock", "Lock")):
    return {"locks": list(locks), "threads": [{"steps": steps} for steps in threads]}


A, B = ["take", 0, "with"], ["take", 1, "with"]
NOT_A, NOT_B = ["free", 0], ["free", 1]
MEET = ["meet", 0]


TAKE_A = ["take", 0, "acquire"]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (program_of([A, B], [B, A]), oracle.SOMETIMES),
        (program_of([A, B, NOT_B, NOT_A], [B, A, NOT_A, NOT_B]), oracle.SOMETIMES),
        (program_of([A, MEET, B], [B, MEET, A]), oracle.ALWAYS),
        (program_of([A, B], [A, B]), oracle.NEVER),
        (program_of([A], [A]), oracle.NEVER),
        (program_of([TAKE_A], [TAKE_A]), oracle.ALWAYS),
        (program_of([A, A]), oracle.ALWAYS),
        (program_of([A, A, TAKE_A, NOT_A], locks=["RLock"]), oracle.NEVER),
        (program_of([TAKE_A, MEET, TAKE_A], [MEET, NOT_A]), oracle.NEVER),
        (program_of([A, ["join", 1]], [A]), oracle.SOMETIMES),
        (program_of([A, MEET, ["join", 1]], [MEET, A]), oracle.ALWAYS),
        (program_of([["get", 0]], [["put", 0]]), oracle.NEVER),
        (program_of([["get", 0], ["get", 0]], [["put", 0]]), oracle.ALWAYS),
        (program_of([["wait", 0]], [["set", 0]]), oracle.NEVER),
    ],
)
def test_the_oracle_knows_what_comes_of_small_programs(program, expected):
    assert oracle.verdict(program) == expected
