"""`install()` and multiprocessing: who gets which name, and libraries that use it."""

import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def run_program(tmp_path):
    """Runs the text of a program; it must end well and quietly."""

    def run(source, *options):
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(source), encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-W", "error", *options, script],
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        return ended.stdout

    return run


def test_every_way_to_a_name_leads_to_ours(run_program):
    run_program("""
        import multiprocessing as standard
        from multiprocessing import Process, Queue, get_context
        context_before = get_context("spawn")
        import manyhands
        manyhands.install()
        import manyhands.multiprocessing as ours
        import multiprocessing.queues, multiprocessing.synchronize, multiprocessing.pool
        import multiprocessing.managers, multiprocessing.connection, multiprocessing.sharedctypes
        import multiprocessing.shared_memory, manyhands.multiprocessing.shared_memory
        from multiprocessing.pool import ThreadPool
        import importlib
        assert Process is standard.Process is standard.context.Process is ours.Process
        assert Queue == standard.Queue == ours.Queue
        for name, names in {
            "queues": ["Queue", "JoinableQueue", "SimpleQueue"],
            "synchronize": ["Lock", "RLock", "Semaphore", "Condition", "Event", "Barrier"],
            "pool": ["Pool", "ThreadPool"],
            "managers": ["SyncManager"],
            "connection": ["Pipe", "wait"],
            "sharedctypes": ["Value", "Array", "RawValue", "RawArray"],
        }.items():
            theirs = getattr(standard, name)
            of_ours = importlib.import_module(f"manyhands.multiprocessing.{name}")
            for each in names:
                assert getattr(theirs, each) is getattr(of_ours, each), each
        assert ThreadPool is ours.pool.ThreadPool
        for context in (context_before, standard.get_context("fork"), standard):
            assert type(context.Queue()) is ours.queues.Queue
            assert type(context.Lock()) is ours.synchronize.Lock
            assert issubclass(context.Process, ours.process.BaseProcess)
        assert isinstance(standard.Pipe()[0], standard.connection.Connection)
        assert standard.get_start_method() == "template"
        # Its blocks have names that programs outside of the family may know.
        assert standard.shared_memory.SharedMemory is not ours.shared_memory.SharedMemory
    """)


def test_ours_may_be_imported_first_or_in_any_part(run_program):
    for module in (
        "_queues.process_queue",
        "_mp.pools.pool",
        "_mp.managed.managers",
        "multiprocessing.connection",
        "_mp.child",
    ):
        run_program(f"""
            import manyhands
            manyhands.install()
            import manyhands.{module}
            import multiprocessing.queues, manyhands.multiprocessing.queues
            assert multiprocessing.Queue == manyhands.multiprocessing.Queue
            assert multiprocessing.queues.Queue is manyhands.multiprocessing.queues.Queue
        """)


def test_uninstall_puts_everything_back(run_program):
    run_program("""
        import multiprocessing, multiprocessing.queues
        from multiprocessing import Process, Lock
        class Early(Process): pass
        def state():
            context = multiprocessing.context
            return [
                {name: getattr(multiprocessing, name) for name in multiprocessing.__all__},
                *(dict(vars(each)) for each in (context, context.BaseContext, context.ForkContext)),
                multiprocessing.queues.Queue, type(multiprocessing.queues), Process, Lock,
                Early.__bases__, multiprocessing.get_start_method(allow_none=True),
            ]
        before = [state()]
        import manyhands
        manyhands.install()
        assert Process is not before[0][6] and multiprocessing.get_start_method() == "template"
        multiprocessing.Process(target=int).start()
        assert Early.__mro__[1] is multiprocessing.Process
        for process in multiprocessing.active_children():
            process.join()
        manyhands.uninstall()
        after = state()
        for old, new in zip(before[0], after):
            assert old == new, (old, new)
    """)


def test_a_start_method_that_was_chosen_stays_chosen(run_program):
    run_program("""
        import multiprocessing, manyhands
        multiprocessing.set_start_method("spawn")
        manyhands.install()
        assert multiprocessing.get_start_method() == "spawn"
        multiprocessing.set_start_method("fork", force=True)
        manyhands.uninstall()
        assert multiprocessing.get_start_method() == "fork"
    """)


@pytest.mark.parametrize("method", ["template", "spawn", "fork"])
def test_children_and_grandchildren_have_it_too(run_program, method):
    out = run_program(f"""
        import manyhands
        manyhands.install()
        import multiprocessing
        multiprocessing.set_start_method({method!r})
        def child(queue, depth):
            import manyhands, multiprocessing
            kind = type(multiprocessing.Queue.__self__)
            queue.put((manyhands.is_installed(), kind.__module__))
            if depth:
                process = multiprocessing.Process(target=child, args=(queue, depth - 1))
                process.start()
                process.join()
        queue = multiprocessing.Queue()
        process = multiprocessing.Process(target=child, args=(queue, 1))
        process.start()
        process.join()
        print(queue.get(), queue.get())
    """)
    assert out.strip() == " ".join(["(True, 'manyhands.multiprocessing.context')"] * 2)


def test_a_program_without_a_guard_runs_under_the_command(run_program, tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(
        textwrap.dedent("""
            import multiprocessing
            def cook(queue):
                queue.put("rice")
            queue = multiprocessing.Queue()
            process = multiprocessing.Process(target=cook, args=(queue,))
            process.start()
            process.join()
            print(queue.get(), process.exitcode)
        """)
    )
    ended = subprocess.run(
        [sys.executable, "-m", "manyhands", "run", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "rice 0\n", "")


def test_log_records_of_processes_reach_the_listener(run_program):
    out = run_program("""
        import manyhands
        manyhands.install()
        import logging, logging.handlers, multiprocessing
        queue = multiprocessing.Queue(-1)
        shown = logging.StreamHandler(__import__("sys").stdout)
        shown.setFormatter(logging.Formatter("%(processName)s %(message)s"))
        listener = logging.handlers.QueueListener(queue, shown)
        listener.start()
        def cook(queue, number):
            logger = logging.getLogger("kitchen")
            logger.addHandler(logging.handlers.QueueHandler(queue))
            logger.setLevel(logging.INFO)
            logger.info("dish %d", number)
        processes = [
            multiprocessing.Process(target=cook, args=(queue, n), name=f"cook-{n}")
            for n in range(3)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        listener.stop()
    """)
    assert sorted(out.splitlines()) == [f"cook-{n} dish {n}" for n in range(3)]


def test_joblibs_multiprocessing_backend_runs_on_ours(run_program):
    pytest.importorskip("joblib")
    out = run_program("""
        import manyhands
        manyhands.install()
        import joblib
        from joblib import Parallel, delayed
        with joblib.parallel_config(backend="multiprocessing"):
            print(Parallel(n_jobs=2)(delayed(pow)(n, 2) for n in range(10)))
    """)
    assert out.strip() == str([n * n for n in range(10)])


def test_the_start_of_a_program_pays_for_nothing(run_program):
    out = run_program("""
        import sys, manyhands
        manyhands.install()
        print([name for name in sys.modules if "multiprocessing" in name or "_runtime" in name])
    """)
    assert out.strip() == "['manyhands._drop_in.multiprocessing_package']"
