"""Programs that end while threads run, wait, or fail: they end, quietly."""

import pytest


@pytest.mark.parametrize("installed", [False, True], ids=["imported", "installed"])
@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "while True: time.sleep(0.0001)",
        "threading.Event().wait()",
        "threading.Event().wait(3600)",
        "threading.Thread(target=threading.Event().wait, daemon=True).start(); other()",
        "threading.Semaphore(0).acquire()",
        "condition = threading.Condition(); condition.acquire(); condition.wait()",
        "threading.Barrier(2).wait()",
        "threading.main_thread().join(); threading.Event().wait()",
    ],
)
def test_daemon_threads_die_with_the_program(run_program, installed, body):
    threading = "threading" if installed else "manyhands.threading"
    out, err = run_program(f"""
        import sys, time
        if {installed}:
            import manyhands
            manyhands.install()
        import {threading} as threading
        sys.setswitchinterval(1e-5)

        begun = threading.Semaphore(0)

        def other():
            other = threading.Thread(target=threading.Event().wait, daemon=True)
            other.start()
            other.join()

        def work():
            begun.release()
            {body}

        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            begun.acquire()
        print("end")
    """)
    assert out == "end\n"
    assert err == ""


def test_the_program_waits_for_threads_that_are_no_daemons(run_program):
    out, err = run_program("""
        import time
        from manyhands.threading import Thread

        def late():
            time.sleep(0.2)
            print("late", flush=True)

        Thread(target=late).start()
        print("main", flush=True)
    """)
    assert out == "main\nlate\n"
    assert err == ""


def test_a_thread_started_while_the_program_ends_is_waited_for_or_refused(run_program):
    out, _ = run_program("""
        import time
        from manyhands.threading import Thread

        def second():
            print("second", flush=True)

        def first():
            time.sleep(0.2)
            thread = Thread(target=second)
            try:
                thread.start()
            except RuntimeError:
                print("refused", flush=True)

        Thread(target=first).start()
    """)
    assert out in ("second\n", "refused\n")


def test_a_daemon_that_fails_in_the_last_moment_does_not_hold_the_program_up(run_program):
    out, _ = run_program("""
        import threading, time
        from manyhands.threading import Thread

        def fail_for_ever():
            while True:
                inner = Thread(target=lambda: 1 / 0, daemon=True)
                try:
                    inner.start()
                    inner.join()
                except (ZeroDivisionError, RuntimeError):
                    pass

        for _ in range(4):
            Thread(target=fail_for_ever, daemon=True).start()
        time.sleep(0.1)
        print("end", flush=True)
    """)
    assert out == "end\n"


def test_ctrl_c_ends_the_wait_for_a_thread(run_program):
    out, _ = run_program("""
        import os, signal, threading
        from manyhands.threading import Event, Thread

        release = Event()
        thread = Thread(target=release.wait)
        thread.start()
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
        try:
            thread.join()
        except KeyboardInterrupt:
            print("interrupted")
        release.set()
        thread.join()
        print(thread.result())
    """)
    assert out == "interrupted\nTrue\n"
