"""An exception that nobody took is shown: when the thread object goes, or the program ends."""

import gc
import weakref

from manyhands.threading import Thread


def fail():
    raise ValueError("no luck")


def started(*args, **kwargs):
    thread = Thread(*args, **kwargs)
    thread.start()
    return thread


def wait_unseen(thread):
    """Waits for the thread without asking how it ended."""
    while thread.is_alive():
        pass


def test_the_hook_is_called_when_the_thread_object_is_collected(hooked):
    thread = started(target=fail, name="lost")
    wait_unseen(thread)
    assert not hooked
    gone = weakref.ref(thread)
    del thread
    gc.collect()
    (call,) = hooked
    assert (call.exc_type, str(call.exc_value)) == (ValueError, "no luck")
    assert call.exc_traceback.tb_frame.f_code.co_name == "fail"
    assert call.thread.name == "lost"
    del call
    hooked.clear()
    gc.collect()
    assert gone() is None
    assert not hooked


def test_the_hook_is_not_called_for_what_was_joined(hooked):
    thread = started(target=fail)
    try:
        thread.join()
    except ValueError:
        pass
    del thread
    gc.collect()
    assert not hooked


def test_a_join_that_came_to_its_timeout_took_nothing(hooked):
    thread = started(target=fail)
    wait_unseen(thread)
    del thread
    gc.collect()
    assert len(hooked) == 1


def test_the_end_of_the_program_shows_what_nobody_took(run_program):
    out, err = run_program("""
        from manyhands.threading import Thread
        kept = Thread(target=lambda: 1 / 0, name="kept")
        kept.start()
        while kept.is_alive():
            pass
        print("end", flush=True)
    """)
    assert out == "end\n"
    assert err.count("Exception in thread kept:") == 1
    assert "ZeroDivisionError: division by zero" in err


def test_a_thread_that_fails_after_the_end_of_the_main_program_is_shown(run_program):
    _, err = run_program("""
        import time
        from manyhands.threading import Thread

        def fail_late():
            time.sleep(0.2)
            raise ValueError("late")

        Thread(target=fail_late, name="late").start()
    """)
    assert err.count("Exception in thread late:") == 1
    assert err.count("ValueError: late") == 1


def test_a_program_that_dies_of_a_joined_exception_shows_it_once(run_program):
    _, err = run_program(
        """
        from manyhands.threading import Thread
        thread = Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        """,
        status=1,
    )
    assert err.count("ZeroDivisionError") == 1
    assert "Exception in thread" not in err


def test_a_forked_child_leaves_it_to_the_parent(run_program):
    _, err = run_program("""
        import os, sys, warnings
        from manyhands.threading import Thread
        thread = Thread(target=lambda: 1 / 0, name="parents")
        thread.start()
        while thread.is_alive():
            pass
        child = os.fork()
        if child == 0:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """)
    assert err.count("Exception in thread parents:") == 1


def test_a_child_forked_while_a_thread_runs_is_told_that_its_outcome_is_unknown(run_program):
    out, _ = run_program("""
        import os, warnings
        from manyhands.threading import Event, Thread
        warnings.simplefilter("ignore")  # 3.12 warns of any fork beside threads.
        release = Event()
        thread = Thread(target=release.wait)
        thread.start()
        child = os.fork()
        if child == 0:
            thread.join()
            try:
                thread.result()
            except RuntimeError as error:
                os.write(1, f"{error}\\n".encode())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        release.set()
        thread.join()
    """)
    assert "ended without an outcome: this process was forked" in out
