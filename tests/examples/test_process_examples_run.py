"""The programs of rows M1, M2, M3 and M5 run and print what they promise."""

import re

from .test_examples_run import run_example


def test_a_process_is_started_terminated_and_joined(tmp_path):
    lines, _ = run_example("process_life.py", tmp_path)
    assert lines == [
        "sleeper: alive before its start: False",
        "alive: True, has a process id of its own: True",
        "terminated: alive: False, exit code: -15",
        "killed: exit code: -9",
        "returned: (3, 2)",
        "main ends; the daemon is alive: True",
    ]


def test_nine_named_processes_tell_their_squares(tmp_path):
    lines, _ = run_example("process_squares.py", tmp_path)
    found = [re.fullmatch(r"process (\d) \(pid (\d+)\): \1 squared is (\d+)", x) for x in lines[:9]]
    assert sorted(int(match[3]) for match in found) == [n * n for n in range(1, 10)]
    assert len({match[2] for match in found}) == 9
    assert lines[9:] == ["all ended with 0: True"]


def test_processes_share_nothing_by_themselves(tmp_path):
    lines, _ = run_example("process_unshared_state.py", tmp_path)
    assert lines == ["in the processes: [1, 2, 3, 4, 5, 6, 7, 8, 9]", "in the parent: 0"]


def test_results_come_through_a_queue_and_through_pipes(tmp_path):
    lines, _ = run_example("process_queue_and_pipe.py", tmp_path)
    assert lines == ["through a queue: 50,000,000", "through pipes: 50,000,000"]
