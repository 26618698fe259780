"""Under `install()`, an unmodified program's work really runs on our executors."""

import subprocess
import sys
import textwrap

import pytest

PROGRAMS = {
    "threads": """
        from concurrent.futures import ThreadPoolExecutor, as_completed, wait
        with ThreadPoolExecutor(max_workers=2) as pool:
            futures = [pool.submit(pow, n, 2) for n in range(5)]
            assert wait(futures).not_done == set()
            assert sorted(f.result() for f in as_completed(futures)) == [0, 1, 4, 9, 16]
        assert "manyhands._runtime" in sys.modules
        """,
    "processes": """
        import concurrent.futures, os
        with concurrent.futures.ProcessPoolExecutor(max_workers=2) as pool:
            assert list(pool.map(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]
            assert pool.submit(os.getpid).result() != os.getpid()
        assert "manyhands._runtime" in sys.modules
        """,
    "executors made by tasks": """
        import concurrent.futures, multiprocessing
        def names():
            import concurrent.futures
            from concurrent.futures import ThreadPoolExecutor
            with ThreadPoolExecutor() as pool, concurrent.futures.ProcessPoolExecutor(1) as inner:
                assert pool.submit(inner.submit, pow, 3, 2).result().result() == 9
                return {type(pool).__module__, type(inner).__module__}
        for method in ("forkserver", "spawn", "fork"):
            context = multiprocessing.get_context(method)
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                assert pool.submit(names).result() == {"manyhands.futures"}, method
        """,
    "asyncio": """
        import asyncio
        assert asyncio.run(asyncio.to_thread(pow, 3, 2)) == 9
        assert "manyhands._runtime" in sys.modules
        """,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_an_unmodified_program_runs_on_ours(program, tmp_path):
    script = tmp_path / "program.py"
    script.write_text("import sys\n" + textwrap.dedent(program), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "manyhands", "run", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_workers_of_pools_opened_after_uninstall_have_the_standard_names(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent("""
        import manyhands
        from manyhands.futures import ProcessPoolExecutor

        def home():
            import concurrent.futures
            return concurrent.futures.ThreadPoolExecutor.__module__

        def home_in_a_worker():
            with ProcessPoolExecutor(1) as pool:
                return pool.submit(home).result()

        manyhands.install()
        assert home_in_a_worker() == "manyhands.futures"
        manyhands.uninstall()
        assert home_in_a_worker() == "concurrent.futures.thread"
        """),
        encoding="utf-8",
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
