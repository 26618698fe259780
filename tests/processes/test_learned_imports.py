"""The template imports what its children keep importing, and nothing that would do harm there."""

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
    import itertools, os, sys
    from manyhands import multiprocessing

    def begin_with(name):
        was_there = name in sys.modules
        __import__(name)
        return was_there

    def pools(name):
        "For each new pool: whether the workers of its tasks had the module before they asked."
        while True:
            with multiprocessing.Pool(2) as pool:
                # Both workers have to take one.
                barrier = multiprocessing.Barrier(2)
                first = [pool.apply_async(together, (barrier, name)) for _ in range(2)]
                yield [result.get(60) for result in first]

    def together(barrier, name):
        barrier.wait(60)
        return begin_with(name)
"""


@pytest.fixture
def run_program(tmp_path):
    """Runs a program beside a folder of installed modules; what it printed."""
    installed = tmp_path / "site-packages"
    installed.mkdir()

    def run(source, **modules):
        for name, text in modules.items():
            (installed / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(PRELUDE) + textwrap.dedent(source), encoding="utf-8")
        completed = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import sys; sys.path[:0] = [{str(installed)!r}]; "
                f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')",
            ],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert completed.returncode == 0, completed.stderr
        assert completed.stderr == ""
        return completed.stdout

    return run


def test_later_workers_begin_with_what_two_have_imported(run_program):
    out = run_program(
        """
        seen = pools("a_library")
        print(next(seen))
        while next(seen) != [True, True]:
            pass
        print("learned")
        """,
        a_library="print('imported', file=open('/dev/null', 'w'))",
    )
    assert out == "[False, False]\nlearned\n"


def test_the_programs_own_modules_are_imported_by_those_who_need_them_only(run_program, tmp_path):
    (tmp_path / "mine.py").write_text("import a_library\nprint('mine', flush=True)\n")
    out = run_program(
        f"""
        sys.path.insert(0, {str(tmp_path)!r})
        n_pools = 0
        for seen in pools("mine"):
            n_pools += 1
            assert seen == [False, False], seen
            with multiprocessing.Pool(1) as pool:
                if pool.apply(begin_with, ("a_library",)):
                    break
        print(n_pools)
        """,
        a_library="",
    )
    *imports, n_pools = out.split()
    assert imports == ["mine"] * (2 * int(n_pools))


@pytest.mark.parametrize(
    "harm",
    [
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import signal; signal.signal(signal.SIGUSR1, lambda *_: None)",
        "import atexit; atexit.register(int)",
        "import sys; 'mh-template' in open('/proc/self/comm').read() and sys.exit('no')",
        "import os; 'mh-template' in open('/proc/self/comm').read() and os.kill(os.getpid(), 9)",
    ],
    ids=["a thread", "a signal handler", "a last act", "an exit", "a death"],
)
def test_what_would_do_harm_in_the_template_is_not_learned(run_program, harm):
    out = run_program(
        """
        for harmful, harmless in zip(pools("a_harmful_one"), pools("harmless")):
            assert harmful == [False, False], harmful
            if harmless == [True, True]:
                break
        print("done")
        """,
        a_harmful_one=harm,
        harmless="",
    )
    assert out == "done\n"


def test_with_another_environment_workers_import_for_themselves(run_program):
    out = run_program(
        """
        while next(pools("a_library")) != [True, True]:
            pass
        os.environ["THREADS_OF_A_LIBRARY"] = "1"
        print(next(pools("a_library")))
        del os.environ["THREADS_OF_A_LIBRARY"]
        sys.path.append("/another")
        print(next(pools("a_library")))
        """,
        a_library="",
    )
    assert out == "[False, False]\n[False, False]\n"
