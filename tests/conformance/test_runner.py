"""The conformance runner sees every way in which a test can end, and cannot pass by accident."""

import importlib
import os
import platform
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[2] / "conformance/run.py"
TESTS = """
import ctypes, os, subprocess, sys, time, unittest

class Ends(unittest.TestCase):
    def test_1_passes(self):
        print("noise on standard output")
    def test_2_fails(self):
        self.fail("on purpose")
    def test_3_errs(self):
        raise ValueError
    def test_4_skips(self):
        self.skipTest("today")
    def test_5_crashes(self):
        os._exit(7)
    def test_6_hangs(self):
        time.sleep(60)
    def test_7_passes_after_all_that(self):
        pass
"""
LEAK = """
import subprocess, sys, unittest

class Leaks(unittest.TestCase):
    def test_leak(self):
        subprocess.Popen(["sleep", "60"])
"""
SHIM_USER = """
import subprocess, sys, unittest
SHOW = "import sys; print(sys.shim_was_here)"

class UsesShim(unittest.TestCase):
    def test_here(self):
        self.assertTrue(sys.shim_was_here)
    def test_in_children_even_if_isolated(self):
        shown = subprocess.check_output([sys.executable, "-I", "-c", SHOW], text=True)
        self.assertEqual(shown, "True\\n")
"""
MEETING = """
import os, time, unittest

def meet(name, other):
    open(os.path.join(os.path.dirname(__file__), name), "w").close()
    while not os.path.exists(os.path.join(os.path.dirname(__file__), other)):
        time.sleep(0.01)

class One(unittest.TestCase):
    def test_one(self):
        meet("one", "other")

class Other(unittest.TestCase):
    def test_other(self):
        meet("other", "one")
"""
ENDLESS = """
import os, time, unittest

class Endless(unittest.TestCase):
    def test_endless(self):
        with open("PATH", "w") as file:
            file.write(str(os.getpid()))
        time.sleep(1000)
"""
SHIM = "import sys\ndef install():\n    sys.shim_was_here = True\n"
HIDING_SHIM = SHIM + "    sys.hidden = True\n"
HIDDEN = """
import sys, unittest

class Shy(unittest.TestCase):
    def test_seen(self):
        pass
    if not hasattr(sys, "hidden"):
        def test_hidden(self):
            pass
"""
COPY = """
import sys, unittest

class Copies(unittest.TestCase):
    copy = "standard"
    def test_copy(self):
        self.assertEqual(self.copy, "replaced")
"""
ADAPTING_SHIM = SHIM + "def adapt(tests):\n    tests.Copies.copy = 'replaced'\n"


@pytest.fixture
def start_conformance(tmp_path):
    """Starts the runner on the text of a module of tests; the environment imports from tmp_path."""

    started = []

    def start(source, *options, shim=SHIM, exclude=""):
        (tmp_path / "shim.py").write_text(shim, encoding="utf-8")
        (tmp_path / "exclude.txt").write_text(exclude, encoding="utf-8")
        tests = Path(tmp_path, "subject")
        tests.mkdir()
        (tests / "__init__.py").touch()
        (tests / "test_it.py").write_text(source, encoding="utf-8")
        command = [sys.executable, RUNNER, "subject", "--shim", "shim", "--path", tmp_path]
        command += ["--work", tmp_path / "work", "--exclude", tmp_path / "exclude.txt", *options]
        running = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(running)
        return running

    yield start
    for running in started:
        with running:
            running.kill()


@pytest.fixture
def run_conformance(start_conformance):
    """Runs the runner to its end; the text of what it printed is in `stdout` and `stderr`."""

    def run(source, *options, **files):
        with start_conformance(source, *options, **files) as running:
            out, err = running.communicate(timeout=100)
        return subprocess.CompletedProcess(running.args, running.returncode, out, err)

    return run


def test_every_way_to_end_is_told_apart(run_conformance):
    ended = run_conformance(TESTS, "--timeout", "2")
    assert "2 passed, 1 failed, 1 error, 1 skipped, 1 crashed, 1 hung" in ended.stdout
    assert "FAILED: subject.test_it.Ends.test_2_fails" in ended.stdout
    assert "on purpose" in ended.stdout
    assert "CRASHED: subject.test_it.Ends.test_5_crashes" in ended.stdout
    assert "time.sleep" not in ended.stderr
    assert ended.returncode == 1


def test_excluded_tests_are_not_run_and_counted(run_conformance):
    names = ("test_2_fails", "test_3_errs", "test_5_crashes", "test_6_hangs")
    exclude = "".join(f"subject.test_it.Ends.{name}\tshows it\n" for name in names)
    ended = run_conformance(TESTS, exclude="# a comment\n" + exclude)
    assert "2 passed, 1 skipped; 4 of 7 excluded\n  0 faults" in ended.stdout
    assert ended.returncode == 0


def test_an_exclusion_needs_a_reason(run_conformance):
    ended = run_conformance(TESTS, exclude="subject.test_it.Ends.test_2_fails\n")
    assert "needs a tab and a reason" in ended.stderr
    assert ended.returncode == 1


def test_an_exclusion_may_name_a_class_or_belong_to_a_version(run_conformance):
    exclude = "subject.test_it.Gone [3.1,3.2]\tof old\nsubject.test_it.Ends\tall of it\n"
    ended = run_conformance(TESTS, exclude=exclude)
    assert "no test; 7 of 7 excluded\n  0 faults" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 1, "a suite of which nothing ran proves nothing"


def test_the_shim_may_adapt_a_module_that_has_a_private_copy(run_conformance):
    assert run_conformance(COPY, shim=ADAPTING_SHIM).returncode == 0


def test_several_suites_are_counted_each(run_conformance):
    ended = run_conformance(HIDDEN, "subject.test_it", "--match", "test_seen")
    assert "subject: 1 passed; 0 of 2 excluded" in ended.stdout
    assert "subject.test_it: 1 passed; 0 of 2 excluded" in ended.stdout
    assert ended.returncode == 0


def test_an_exclusion_of_a_test_that_does_not_exist_is_a_fault(run_conformance):
    ended = run_conformance(HIDDEN, exclude="subject.test_it.Shy.test_gone\tobsolete\n")
    assert "names subject.test_it.Shy.test_gone, which does not exist" in ended.stdout
    assert ended.returncode == 1


def test_a_process_that_outlives_its_test_is_ended_and_is_a_fault(run_conformance):
    ended = run_conformance(LEAK)
    assert "left behind by subject.test_it.Leaks: sleep 60" in ended.stdout
    assert ended.returncode == 1


def test_the_shim_is_in_every_interpreter(run_conformance):
    ended = run_conformance(SHIM_USER)
    assert "2 passed; 0 of 2 excluded\n  0 faults" in ended.stdout, ended.stdout
    assert ended.returncode == 0


def test_a_test_that_the_shim_makes_disappear_is_missing(run_conformance):
    ended = run_conformance(HIDDEN, shim=HIDING_SHIM)
    assert "1 passed, 1 missing" in ended.stdout
    assert ended.returncode == 1


def test_classes_run_at_once(run_conformance):
    """Each of the two waits for the other."""
    ended = run_conformance(MEETING, "--jobs", "2")
    assert "2 passed; 0 of 2 excluded\n  0 faults" in ended.stdout, ended.stdout
    assert ended.returncode == 0


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_ends_its_tests(start_conformance, tmp_path, end):
    running = start_conformance(ENDLESS.replace("PATH", str(tmp_path / "pid")))
    pid_file = tmp_path / "pid"
    while not pid_file.exists() or not pid_file.read_text():
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    pid_fd = os.pidfd_open(int(pid_file.read_text()))
    os.kill(running.pid, end)
    running.communicate()
    assert select.select([pid_fd], [], [], 60)[0], "the test goes on"
    os.close(pid_fd)
    assert running.returncode != 0


def test_suites_at_once_are_counted_each_and_their_leaks_found(run_conformance):
    ended = run_conformance(LEAK, "subject.test_it", "--jobs", "2")
    assert "subject: 1 passed; 0 of 1 excluded" in ended.stdout, ended.stdout + ended.stderr
    assert "subject.test_it: 1 passed; 0 of 1 excluded" in ended.stdout
    assert ended.stdout.count("FAULT: left behind by subject.test_it.Leaks: sleep 60") == 2
    assert ended.returncode == 1


README = """
| tests of | suite | {version}: pass / skip / excluded | 9.9 |
|---|---|---|---|
| another | `other` | not installed | 1 / 1 / 1 |
| what is tested | `subject` | {counts} | 5 / 5 / 5 |
"""
RELEASE = platform.python_version()
SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def run_with_readme(run_conformance, tmp_path):
    """Runs tests of which 2 pass, 1 skips itself and 4 are excluded, beside this README."""

    def run(counts, *options, version=SERIES, more=""):
        readme = tmp_path / "README.md"
        readme.write_text(README.format(version=version, counts=counts) + more, encoding="utf-8")
        names = ("test_2_fails", "test_3_errs", "test_5_crashes", "test_6_hangs")
        exclude = "".join(f"subject.test_it.Ends.{name}\tshows it\n" for name in names)
        return run_conformance(TESTS, "--readme", readme, *options, exclude=exclude)

    return run


@pytest.mark.parametrize("version", [SERIES, RELEASE])
def test_the_counts_of_the_readme_are_those_of_the_run(run_with_readme, version):
    ended = run_with_readme("2 / 1 / 4", version=version)
    assert ended.returncode == 0, ended.stdout
    assert "not compared" not in ended.stdout


@pytest.mark.parametrize("version", [SERIES, RELEASE])
@pytest.mark.parametrize("counts", ["3 / 1 / 3", "2 / 0 / 4", "2 / 1 / 5"])
def test_other_counts_in_the_readme_are_a_fault(run_with_readme, counts, version):
    ended = run_with_readme(counts, version=version)
    assert f"README.md says {counts} of subject and {RELEASE}" in ended.stdout
    assert "and it is 2 / 1 / 4: find out why" in ended.stdout
    assert ended.returncode == 1


def test_a_suite_that_the_readme_does_not_count_is_a_fault(run_with_readme):
    ended = run_with_readme("most")
    assert f"README.md has no counts of subject and {RELEASE}: it is 2 / 1 / 4" in ended.stdout
    assert ended.returncode == 1


def test_a_suite_that_the_readme_counts_and_that_is_not_run_is_a_fault(run_with_readme):
    ended = run_with_readme("2 / 1 / 4", more="| a third | `third`, `also` | 7 / 0 / 0 | |\n")
    assert f"README.md says 7 / 0 / 0 of third or also and {RELEASE}, which was not run" in (
        ended.stdout
    )
    assert ended.returncode == 1


def test_two_rows_for_a_suite_in_the_readme_are_a_fault(run_with_readme):
    ended = run_with_readme("2 / 1 / 4", more="| again | `subject` | 2 / 1 / 4 | |\n")
    assert "README.md has several rows for subject: leave one" in ended.stdout
    assert ended.returncode == 1


def test_counts_of_another_release_are_not_compared_and_that_is_said(run_with_readme):
    ended = run_with_readme("9 / 9 / 9", version=f"{SERIES}.99")
    assert f"README.md states no counts for CPython {RELEASE}: they were not compared" in (
        ended.stdout
    )
    assert ended.returncode == 0


def test_a_part_of_the_tests_is_not_compared_with_the_readme(run_with_readme):
    assert run_with_readme("9 / 9 / 9", "--match", "passes").returncode == 0


def test_the_readme_of_this_project_counts_every_suite_once():
    sys.path.insert(0, str(RUNNER.parent))
    try:
        readme_counts = importlib.import_module("readme_counts")
    finally:
        sys.path.remove(str(RUNNER.parent))
    readme = RUNNER.parents[1] / "README.md"
    told = readme_counts.differences(readme, "3.13.0", {})
    assert len(told) == 8
    assert all("which was not run" in sentence for sentence in told)


def test_a_run_without_any_test_fails(run_conformance):
    ended = run_conformance(HIDDEN, "--match", "no such test")
    assert "no test" in ended.stdout
    assert ended.returncode == 1
