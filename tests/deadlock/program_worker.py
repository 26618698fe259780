"""Runs programs of `lock_programs`, one after the other, and prints what became of each.

    program_worker.py < PROGRAMS (a JSON document per line)

Prints a JSON line per program: its id, and the texts of the DeadlockErrors that were raised. The
main thread waits without a timeout, as the threads do, so that "everyone is asleep" can be found;
whoever started this process watches over it.
"""

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading as standard
import time

from manyhands import queue, threading

# Long enough for a few looks of the detector.
TRY_S = 0.35


class Run:
    """One run of one program."""

    def __init__(self, program):
        self.program = program
        self.locks = [
            threading.Semaphore(1) if kind == "Semaphore" else getattr(threading, kind)()
            for kind in program["locks"]
        ]
        self.events = [threading.Event()]
        self.queues = [queue.Queue()]
        n_meeting = sum(["meet", 0] in each["steps"] for each in program["threads"])
        self.meeting = threading.Barrier(max(n_meeting, 1))
        self.errors, self.surprises = [], []
        self.foreign = []
        self.threads = {}

    def run(self):
        all_started = standard.Event()

        def body(steps):
            all_started.wait()
            self.guarded(steps)

        for idx, each in enumerate(self.program["threads"]):
            if each["run_as"] == "thread":
                name = f"{self.program['id']}-{idx}"
                self.threads[idx] = threading.Thread(target=body, args=(each["steps"],), name=name)
        for each in self.threads.values():
            each.start()
        all_started.set()
        for each in self.program["threads"]:
            if each["run_as"] == "foreign":
                self.start_foreign(each["steps"])
            elif each["run_as"] == "signal":
                self.arm_signal(each["steps"])
        for each in self.threads.values():
            standard.Thread.join(each)
        for each in self.foreign:
            assert ctypes.CDLL(None).pthread_join(each[0], None) == 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def guarded(self, steps):
        try:
            self.perform(steps)
        except threading.DeadlockError as error:
            self.errors.append(str(error))
        except BaseException as error:
            self.surprises.append(repr(error))

    def perform(self, steps):
        with contextlib.ExitStack() as blocks:
            inside = {}
            for verb, *what in steps:
                getattr(self, f"do_{verb}")(blocks, inside, *what)

    def do_take(self, blocks, inside, idx, style):
        if style == "acquire":
            self.locks[idx].acquire()
            inside.setdefault(idx, []).append(None)
            return
        block = blocks.enter_context(contextlib.ExitStack())
        block.enter_context(self.locks[idx])
        inside.setdefault(idx, []).append(block)

    def do_free(self, _, inside, idx):
        held = inside.get(idx)
        block = held.pop() if held else None
        if block is None:
            self.locks[idx].release()
        else:
            block.close()

    def do_timed(self, _, __, idx):
        if self.locks[idx].acquire(timeout=TRY_S):
            self.locks[idx].release()

    def do_meet(self, _, __, ___):
        self.meeting.wait()

    def do_join(self, _, __, idx):
        self.threads[idx].join()

    def do_set(self, _, __, idx):
        self.events[idx].set()

    def do_wait(self, _, __, idx):
        self.events[idx].wait()

    def do_put(self, _, __, idx):
        self.queues[idx].put("salt")

    def do_get(self, _, __, idx):
        self.queues[idx].get()

    def do_nap(self, _, __, seconds):
        time.sleep(seconds)

    def do_io(self, _, __, seconds):
        subprocess.run(["sleep", str(seconds)], check=True)

    def start_foreign(self, steps):
        """Runs the steps in a thread that Python did not start."""

        @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        def body(_):
            # In C, without a Python thread state of its own in between.
            self.guarded(steps)

        thread = ctypes.c_ulong()
        assert ctypes.CDLL(None).pthread_create(ctypes.byref(thread), None, body, None) == 0
        self.foreign.append((thread, body))

    def arm_signal(self, steps):
        """Runs the steps in a signal handler."""
        (_, after_s), *rest = steps
        signal.signal(signal.SIGALRM, lambda *_: self.guarded(rest))
        signal.setitimer(signal.ITIMER_REAL, after_s)


def main():
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # For the one who watches.
    for line in sys.stdin:
        program = json.loads(line)
        run = Run(program)
        run.run()
        answer = {"id": program["id"], "errors": run.errors, "surprises": run.surprises}
        print(json.dumps(answer), flush=True)
        del run
    os.close(0)


if __name__ == "__main__":
    main()
