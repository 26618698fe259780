"""`install()` and threads: whatever was made or defined before it goes on, and is a thread."""

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import threading, _thread
# In a list: names of standard objects in a module are replaced.
STANDARD = [threading.Thread, threading.Timer, threading.Lock]
"""


@pytest.fixture
def run_program(tmp_path):
    """Runs the text of a program that imported `threading` first; it must end well and quietly."""

    def run(source):
        script = tmp_path / "program.py"
        script.write_text(PRELUDE + textwrap.dedent(source), encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        return ended.stdout

    return run


def test_every_thread_is_an_instance_of_the_class_that_has_the_name(run_program):
    run_program("""
        import manyhands
        go = threading.Event()
        class Own(threading.Thread): pass
        class OwnTimer(threading.Timer): pass
        before = [threading.Thread(target=go.wait), Own(target=go.wait), OwnTimer(0, go.wait)]
        for thread in before:
            thread.start()
        manyhands.install()
        assert threading.Thread is not STANDARD[0]
        foreign = []
        done = threading.Event()
        def look():
            foreign.append(threading.current_thread())
            done.set()
        _thread.start_new_thread(look, ())
        done.wait()
        after = [threading.Thread(), Own(), OwnTimer(1, print), threading.Timer(1, print)]
        for thread in (*before, *after, *foreign, threading.main_thread()):
            assert isinstance(thread, threading.Thread), thread
        for timer in (before[2], after[2], after[3]):
            assert isinstance(timer, threading.Timer), timer
        go.set()
        for thread in before:
            thread.join()
    """)


def test_a_subclass_defined_before_may_call_its_base_by_name(run_program):
    run_program("""
        import manyhands
        class Own(threading.Thread):
            def __init__(self, n):
                threading.Thread.__init__(self, name="own")
                self.n = n
            def start(self):
                threading.Thread.start(self)
            def run(self):
                threading.Thread.run(self)
                self.n += 1
            def join(self, timeout=None):
                threading.Thread.join(self, timeout)
        class OwnTimer(threading.Timer):
            def __init__(self, function):
                threading.Timer.__init__(self, 0, function)
        made_before = Own(0)
        manyhands.install()
        for thread in (made_before, Own(0)):
            thread.start()
            thread.join()
            assert thread.n == 1
        calls = []
        timer = OwnTimer(lambda: calls.append(1))
        timer.start()
        timer.join()
        assert calls == [1]
    """)


def test_a_subclass_keeps_its_own_attributes_and_methods(run_program):
    run_program("""
        import manyhands
        manyhands.install()
        class Download(threading.Thread):
            def __init__(self):
                super().__init__()
                self.result = self.exception = self.cpu_time = None
                self.stack_size = self.propagate = self.context = self.record = 1
                self._record = self._context = self._stack_size = self._propagates = 2
                self._result = self._exception = self._body = self._end = 3
                self.is_cancelled = False
            def cancel(self):
                self.is_cancelled = True
            def run(self):
                self.result = self._target
        thread = Download()
        thread.start()
        thread.cancel()
        thread.join()
        assert thread.is_cancelled and thread.result is None
    """)


def test_a_run_that_keeps_what_the_target_returns_works(run_program):
    run_program("""
        import manyhands
        manyhands.install()
        class Returning(threading.Thread):
            def run(self):
                if self._target is not None:
                    self._return = self._target(*self._args, **self._kwargs)
            def join(self, *args):
                super().join(*args)
                return self._return
        thread = Returning(target=divmod, args=(7, 2))
        thread.start()
        assert thread.join() == (3, 1)
    """)


def test_an_exception_goes_to_the_hook_at_once_and_join_returns(run_program):
    run_program("""
        import manyhands
        manyhands.install()
        seen = []
        threading.excepthook = seen.append
        thread = threading.Thread(target=divmod, args=(1, 0))
        thread.start()
        assert thread.join() is None
        assert [call.exc_type for call in seen] == [ZeroDivisionError]
        propagating = threading.Thread(target=divmod, args=(1, 0), propagate=True)
        propagating.start()
        try:
            propagating.join()
        except ZeroDivisionError:
            print("raised")
        assert len(seen) == 1
    """)


def test_the_explicit_import_propagates_beside_install(run_program):
    run_program("""
        import manyhands
        manyhands.install()
        from manyhands.threading import Thread
        assert issubclass(Thread, threading.Thread) and Thread is not threading.Thread
        thread = Thread(target=divmod, args=(1, 0))
        thread.start()
        try:
            thread.join()
        except ZeroDivisionError:
            pass
        else:
            raise AssertionError("not raised")
    """)


def test_the_outcome_of_a_thread_that_ran_before_is_said_to_be_unknown(run_program):
    out = run_program("""
        import manyhands
        thread = threading.Thread(target=int)
        thread.start()
        manyhands.install()
        try:
            thread.result()
        except RuntimeError as error:
            print(error)
        assert thread.cancel() is False
    """)
    assert "was started before manyhands.install()" in out


def test_uninstall_restores_classes_bases_and_threads(run_program):
    run_program("""
        import manyhands
        class Own(threading.Thread): pass
        class OwnTimer(threading.Timer): pass
        thread = threading.Thread(target=int)
        bases = [c.__bases__ for c in (Own, OwnTimer, STANDARD[1], threading._MainThread)]
        manyhands.install()
        made_meanwhile = threading.Thread(target=lambda: "ours")
        class DefinedMeanwhile(threading.Thread):
            def run(self):
                return "defined"
        running = Own(target=threading.Event().wait, args=(0.2,))
        running.start()
        manyhands.uninstall()
        assert [threading.Thread, threading.Timer, threading.Lock] == STANDARD
        after = [c.__bases__ for c in (Own, OwnTimer, STANDARD[1], threading._MainThread)]
        assert after == bases
        assert type(thread) is STANDARD[0]
        for each in (thread, made_meanwhile, DefinedMeanwhile()):
            assert isinstance(each, threading.Thread)
            each.start()
            each.join()
        running.join()
        assert made_meanwhile.result() == "ours"
    """)


def test_names_taken_before_are_ours_also_for_locks(run_program):
    run_program("""
        from threading import Event, Lock, RLock, Thread as Worker
        import manyhands
        manyhands.install()
        assert (Event, Lock, RLock, Worker) == (
            threading.Event, threading.Lock, threading.RLock, threading.Thread
        )
        assert _thread.allocate_lock is not Lock
    """)


def test_logging_and_asyncio_that_were_imported_before_go_on(run_program):
    out = run_program("""
        import asyncio, logging, logging.handlers, queue, sys
        logging.basicConfig(stream=sys.stdout, format="%(threadName)s %(message)s")
        records = queue.Queue()
        listener = logging.handlers.QueueListener(records, logging.StreamHandler(sys.stdout))
        import manyhands
        manyhands.install()
        threads = [
            threading.Thread(target=logging.warning, args=("hello",), name="t") for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listener.start()
        records.put(logging.makeLogRecord({"msg": "queued"}))
        listener.stop()
        async def main():
            return await asyncio.to_thread(lambda: threading.current_thread().name)
        assert asyncio.run(main()).startswith("asyncio_0")
    """)
    assert out == "t hello\n" * 3 + "queued\n"


def test_the_shutdown_hooks_of_threading_run(run_program):
    out = run_program("""
        import manyhands, time
        manyhands.install()
        threading._register_atexit(print, "hook")
        threading.Thread(target=lambda: (time.sleep(0.1), print("late"))).start()
        print("main")
    """)
    assert sorted(out.split()) == ["hook", "late", "main"]


def test_threads_started_while_install_runs_are_threads(run_program):
    run_program("""
        import manyhands, sys
        sys.setswitchinterval(1e-6)
        stop, failures = [], []
        def churn():
            while not stop:
                try:
                    thread = threading.Thread(target=threading.current_thread)
                    thread.start()
                    thread.join()
                except BaseException as error:
                    failures.append(error)
                    return
        churners = [threading.Thread(target=churn) for _ in range(3)]
        for thread in churners:
            thread.start()
        for _ in range(20):
            manyhands.install()
            manyhands.uninstall()
        stop.append(True)
        for thread in churners:
            thread.join()
        assert not failures, failures
    """)
