"""`install()` gives the standard names to our executors, `uninstall()` gives them back."""

import pytest


def test_the_public_names_are_ours_after_install(run_program):
    run_program("""
        manyhands.install()
        import concurrent.futures as standard
        import manyhands.futures as ours
        for name in ("ThreadPoolExecutor", "ProcessPoolExecutor", "wait", "as_completed"):
            assert getattr(standard, name) is getattr(ours, name), name
        assert standard.thread.ThreadPoolExecutor is ours.ThreadPoolExecutor
        assert standard.process.ProcessPoolExecutor is ours.ProcessPoolExecutor
    """)


def test_a_from_import_takes_ours(run_program):
    run_program("""
        manyhands.install()
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
        from concurrent.futures.process import ProcessPoolExecutor as Processes
        from concurrent.futures.thread import ThreadPoolExecutor as Threads
        import manyhands.futures as ours
        assert ThreadPoolExecutor is Threads is ours.ThreadPoolExecutor
        assert ProcessPoolExecutor is Processes is ours.ProcessPoolExecutor
        assert wait is ours.wait
    """)


def test_a_star_import_takes_ours(run_program):
    run_program("""
        manyhands.install()
        from concurrent.futures import *
        import manyhands.futures as ours
        assert as_completed is ours.as_completed
        assert ThreadPoolExecutor is ours.ThreadPoolExecutor
    """)


@pytest.mark.parametrize(
    "used_before",
    ["", "import concurrent.futures.thread", "import concurrent.futures.process"],
    ids=["nothing imported", "threads imported", "processes imported"],
)
@pytest.mark.parametrize("used_between", ["", "concurrent.futures.wait"], ids=["unused", "used"])
def test_uninstall_restores_the_modules_exactly(run_program, used_before, used_between):
    run_program(f"""
        import concurrent.futures
        {used_before}
        modules = [m for n, m in sys.modules.items() if n.startswith("concurrent.futures")]
        before = [dict(vars(module)) for module in modules]
        finders = list(sys.meta_path)
        manyhands.install()
        {used_between}
        manyhands.uninstall()
        for module, was in zip(modules, before):
            now = dict(vars(module))
            # Submodules that were imported meanwhile are attributes of their package.
            assert {{k: v for k, v in now.items() if k in was}} == was, module
            added = now.keys() - was.keys()
            assert added <= {{"thread", "process", "interpreter"}}, added
        assert sys.meta_path == finders
        assert concurrent.futures.ThreadPoolExecutor.__module__ == "concurrent.futures.thread"
        assert concurrent.futures.ProcessPoolExecutor.__module__ == "concurrent.futures.process"
    """)


def test_modules_imported_while_installed_are_restored_too(run_program):
    run_program("""
        manyhands.install()
        import concurrent.futures.thread
        concurrent.futures.thread.ThreadPoolExecutor
        manyhands.uninstall()
        threads = concurrent.futures.thread.ThreadPoolExecutor
        assert threads.__module__ == "concurrent.futures.thread"
        assert concurrent.futures.wait.__module__ == "concurrent.futures._base"
        assert "__getattr__" not in vars(concurrent.futures.thread)
    """)


def test_installing_twice_is_installing_once(run_program):
    run_program("""
        import concurrent.futures
        before = dict(vars(concurrent.futures))
        manyhands.install()
        manyhands.install()
        assert manyhands.is_installed()
        manyhands.uninstall()
        assert not manyhands.is_installed()
        assert dict(vars(concurrent.futures)) == before
    """)


def test_uninstalling_without_installing_does_nothing(run_program):
    run_program("""
        manyhands.uninstall()
        assert not manyhands.is_installed()
        assert "concurrent.futures" not in sys.modules
    """)


def test_install_works_again_after_uninstall(run_program):
    run_program("""
        manyhands.install()
        manyhands.uninstall()
        manyhands.install()
        import concurrent.futures, manyhands.futures
        assert concurrent.futures.wait is manyhands.futures.wait
    """)


def test_a_program_that_uses_no_executor_never_loads_ours(run_program):
    run_program("""
        manyhands.install()
        assert "concurrent.futures" not in sys.modules
        import asyncio, concurrent.futures.thread
        assert not ours_loaded()
        concurrent.futures.thread.ThreadPoolExecutor
        assert ours_loaded()
    """)


def test_names_that_modules_took_before_are_replaced_and_restored(run_program):
    run_program("""
        from concurrent.futures import ThreadPoolExecutor, as_completed as finished
        standard = ThreadPoolExecutor, finished
        manyhands.install()
        import manyhands.futures as ours
        assert (ThreadPoolExecutor, finished) == (ours.ThreadPoolExecutor, ours.as_completed)
        manyhands.uninstall()
        assert (ThreadPoolExecutor, finished) == standard
    """)


def test_a_subclass_defined_before_stays_standard_and_works(run_program):
    run_program("""
        from concurrent.futures import ThreadPoolExecutor
        class Own(ThreadPoolExecutor):
            pass
        manyhands.install()
        with Own(1) as executor:
            assert executor.submit(abs, -1).result() == 1
        assert Own.__mro__[1].__module__ == "concurrent.futures.thread"
    """)


def test_what_somebody_else_put_over_ours_survives_uninstall(run_program):
    run_program("""
        import concurrent.futures
        manyhands.install()
        concurrent.futures.wait = "theirs"
        manyhands.uninstall()
        assert concurrent.futures.wait == "theirs"
    """)


def test_a_mock_over_ours_ends_with_ours(run_program):
    run_program("""
        from unittest import mock
        import concurrent.futures
        manyhands.install()
        with mock.patch("concurrent.futures.ThreadPoolExecutor", "mocked"):
            assert concurrent.futures.ThreadPoolExecutor == "mocked"
        import manyhands.futures
        assert concurrent.futures.ThreadPoolExecutor is manyhands.futures.ThreadPoolExecutor
    """)


def test_the_standard_modules_show_no_trace_of_the_import_hook(run_program):
    run_program("""
        manyhands.install()
        import concurrent.futures.thread, importlib.machinery, inspect
        module = concurrent.futures.thread
        assert type(module.__loader__) is importlib.machinery.SourceFileLoader
        assert module.__spec__.loader is module.__loader__
        assert "class ThreadPoolExecutor" in inspect.getsource(module)
    """)


def test_an_unknown_name_is_the_usual_attribute_error(run_program):
    run_program("""
        manyhands.install()
        import concurrent.futures.thread
        for module in (concurrent.futures, concurrent.futures.thread):
            try:
                module.no_such_name
            except AttributeError as error:
                assert str(error) == f"module {module.__name__!r} has no attribute 'no_such_name'"
            else:
                raise AssertionError(module)
    """)


def test_asyncio_makes_its_default_executor_of_ours(run_program):
    run_program("""
        import asyncio
        manyhands.install()
        import manyhands.futures as ours

        async def main():
            assert await asyncio.to_thread(abs, -1) == 1
            executor = asyncio.get_running_loop()._default_executor
            assert type(executor) is ours.ThreadPoolExecutor
            assert executor.thread_name_prefix == "asyncio"
            asyncio.get_running_loop().set_default_executor(ours.ThreadPoolExecutor())

        asyncio.run(main())
    """)


def test_an_import_under_way_finds_its_module_also_if_ours_are_uninstalled_meanwhile(run_program):
    run_program("""
        import sys

        class Meddler:
            @staticmethod
            def find_spec(name, path=None, target=None):
                manyhands.uninstall()

        manyhands.install()
        # The finder of files is the last one, and the next to be asked.
        sys.meta_path.insert(len(sys.meta_path) - 1, Meddler)
        import colorsys
    """)


def test_threads_may_install_uninstall_and_import_at_the_same_time(run_program):
    run_program("""
        import importlib, random, threading
        manyhands.install()
        start = threading.Barrier(8)
        failures = []

        def shake(seed):
            choose = random.Random(seed).choice
            start.wait()
            try:
                for _ in range(200):
                    choose([
                        manyhands.install,
                        manyhands.uninstall,
                        lambda: importlib.import_module("concurrent.futures.process"),
                        lambda: importlib.import_module("concurrent.futures").ThreadPoolExecutor,
                        lambda: importlib.import_module("manyhands.futures").wait,
                    ])()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=shake, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        manyhands.uninstall()
        import concurrent.futures
        assert concurrent.futures.ThreadPoolExecutor.__module__ == "concurrent.futures.thread"
        assert concurrent.futures.wait.__module__ == "concurrent.futures._base"
    """)
