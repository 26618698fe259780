"""The programs of rows T1 to T3 run and print what they promise."""

from .test_examples_run import run_example


def test_main_waits_for_a_joined_thread_only(tmp_path):
    lines, _ = run_example("thread_join.py", tmp_path)
    assert sorted(lines[:2]) == ["not joined: main goes on", "not joined: the thread starts"]
    assert lines[2:] == [
        "not joined: the thread ends",
        "joined: the thread starts",
        "joined: the thread ends",
        "joined: main goes on",
    ]


def test_daemons_die_with_the_main_thread(tmp_path):
    lines, _ = run_example("thread_daemons.py", tmp_path)
    assert lines == [
        "daemons: True, True, True",
        "joined has counted to 100",
        "main ends; still counting: True, True",
    ]


def test_the_exception_of_a_thread_reaches_the_joiner(tmp_path):
    lines, _ = run_example("thread_failures.py", tmp_path)
    assert lines == [
        "soup: hot soup",
        "ice: nobody can cook ice",
        "1 failed, the waiter has left: True",
    ]
