"""Every program under examples/python runs as a script and prints what it promises.

The programs are started as a user starts them: by path, without arguments, in
a directory that is not the repository's.  None of them has a ``__main__`` guard.
"""

import os
import pathlib
import re
import subprocess
import sys

import manyhands
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"
PACKAGE_ROOT = str(pathlib.Path(manyhands.__file__).resolve().parents[1])

pytestmark = pytest.mark.timeout(120)


def run_example(name, directory):
    """Run one example to its end and return its standard output, line by line."""
    path = os.pathsep.join(filter(None, [PACKAGE_ROOT, os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr, finished.stderr
    return finished.stdout.splitlines(), finished.stderr


def test_thread_pool_sums_gives_the_same_sums_in_both_styles(tmp_path):
    lines, log = run_example("thread_pool_sums.py", tmp_path)
    names = ["Anna", "Ben", "Carla", "David"]
    assert lines == [
        f"{style}: {name} = 50005000" for style in ("submit_style", "map_style") for name in names
    ]
    assert log.count("50005000") == 8
    assert "on cook_" in log, "the thread pool's workers carry the prefix that was asked for"


def test_process_pool_fetch_reports_the_failing_url_and_delivers_the_others(tmp_path):
    lines, _ = run_example("process_pool_fetch.py", tmp_path)
    assert lines[0] == "at least one of 3 is done: True"
    assert sorted(lines[1:4]) == [
        "/apples: 700 bytes",
        "/nothing-here: failed, the server answered 404 Not Found",
        "/pears: 1200 bytes",
    ]
    assert lines[4:] == ["done: 3, not done: 0"]


def test_one_word_finds_the_same_primes_here_and_elsewhere(tmp_path):
    lines, _ = run_example("one_word.py", tmp_path)
    assert lines == [
        "ThreadPoolExecutor: 4 primes, found here",
        "ProcessPoolExecutor: 4 primes, found elsewhere",
    ]


def test_producer_consumer_loses_nothing_and_does_not_wait_for_ever(tmp_path):
    lines, _ = run_example("producer_consumer.py", tmp_path)
    assert lines == [
        "watching the clock: nothing lost: True",
        "forgotten: deadlock: a thread waits, and nobody is left to wake it.",
        "shut down: nothing lost: True",
        "LifoQueue: 3 2 1",
        "PriorityQueue: 1 2 3",
        "SimpleQueue: 3 1 2",
    ]


def test_data_store_loses_an_update_without_a_lock_and_none_with_it(tmp_path):
    lines, _ = run_example("lock_data_store.py", tmp_path)
    assert lines == [
        "update: three updates make 2",
        "update_in_a_block: three updates make 3",
        "update_by_hand: three updates make 3",
    ]


def test_opposite_order_is_told_with_both_threads_and_their_lines(tmp_path):
    lines, _ = run_example("lock_deadlock.py", tmp_path)
    source = (EXAMPLES / "lock_deadlock.py").read_text().splitlines()
    (first,) = [n for n, line in enumerate(source, 1) if line.strip() == "with first:"]
    (second,) = [n for n, line in enumerate(source, 1) if line.strip() == "with second:"]
    report = "\n".join(lines)
    assert lines[0] in ("anna has salt and pepper", "ben has pepper and salt")
    assert report.count("deadlock: 2 threads wait for each other, each for the next.") == 1
    for thread, held, wanted in (("anna", "salt", "pepper"), ("ben", "pepper", "salt")):
        assert f'Thread "{thread}"\n    holds Lock "{held}", acquired at ' in report
        assert re.search(rf'waits for Lock "{wanted}" at .*lock_deadlock.py:{second} ', report)
    assert report.count(f"lock_deadlock.py:{first}\n") == 2
    assert lines[-2:] == ["anna has salt and pepper", "ben has salt and pepper"]


def test_no_example_hides_behind_a_main_guard():
    programs = sorted(EXAMPLES.glob("*.py"))
    assert programs, f"no example found in {EXAMPLES}"
    for program in programs:
        code = program.read_text().split('"""', 2)[2]
        assert "__name__ ==" not in code, f"{program.name} has a guard"
