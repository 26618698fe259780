"""The program of row M4's manager runs and prints what it promises."""

from .test_examples_run import run_example


def test_processes_share_containers(tmp_path):
    lines, _ = run_example("process_manager.py", tmp_path)
    assert lines == [
        "words: 8 8 4",
        "processes that counted: [0, 1, 2, 3] 4 4",
        "visitors: ['guest']",
    ]
