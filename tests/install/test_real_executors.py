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
