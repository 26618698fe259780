"""The conformance runner sees every way in which a test can end, and cannot pass by accident."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

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
def run_conformance(tmp_path):
    """Runs the runner on the text of a module of tests; the environment imports from tmp_path."""

    def run(source, *options, shim=SHIM, exclude=""):
        (tmp_path / "shim.py").write_text(shim, encoding="utf-8")
        (tmp_path / "exclude.txt").write_text(exclude, encoding="utf-8")
        tests = Path(tmp_path, "subject")
        tests.mkdir()
        (tests / "__init__.py").touch()
        (tests / "test_it.py").write_text(source, encoding="utf-8")
        command = [sys.executable, RUNNER, "subject", "--shim", "shim", "--path", tmp_path]
        command += ["--work", tmp_path / "work", "--exclude", tmp_path / "exclude.txt", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=100)

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


def test_suites_at_once_are_counted_each_and_their_leaks_found(run_conformance):
    ended = run_conformance(LEAK, "subject.test_it", "--jobs", "2")
    assert "subject: 1 passed; 0 of 1 excluded" in ended.stdout, ended.stdout + ended.stderr
    assert "subject.test_it: 1 passed; 0 of 1 excluded" in ended.stdout
    assert ended.stdout.count("FAULT: left behind by subject.test_it.Leaks: sleep 60") == 2
    assert ended.returncode == 1


README = """
| tests of | suite | {version}: pass / skip / excluded | 9.9 |
|---|---|---|---|
| another | `other` | 1 / 1 / 1 | |
| what is tested | `subject` | {counts} | 5 / 5 / 5 |
"""


def run_with_readme(run_conformance, tmp_path, counts):
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    readme = tmp_path / "README.md"
    readme.write_text(README.format(version=version, counts=counts), encoding="utf-8")
    names = ("test_2_fails", "test_3_errs", "test_5_crashes", "test_6_hangs")
    exclude = "".join(f"subject.test_it.Ends.{name}\tshows it\n" for name in names)
    return run_conformance(TESTS, "--readme", readme, exclude=exclude)


def test_the_counts_of_the_readme_are_those_of_the_run(run_conformance, tmp_path):
    ended = run_with_readme(run_conformance, tmp_path, "2 / 1 / 4")
    assert ended.returncode == 0, ended.stdout


def test_other_counts_in_the_readme_are_a_fault(run_conformance, tmp_path):
    ended = run_with_readme(run_conformance, tmp_path, "3 / 1 / 3")
    assert "README.md says 3 / 1 / 3 of subject and " in ended.stdout
    assert "and it is 2 / 1 / 4: find out why" in ended.stdout
    assert ended.returncode == 1


def test_a_suite_that_the_readme_does_not_name_is_a_fault(run_conformance, tmp_path):
    ended = run_with_readme(run_conformance, tmp_path, "most")
    assert "README.md has no row for subject and " in ended.stdout
    assert ended.returncode == 1


def test_a_run_without_any_test_fails(run_conformance):
    ended = run_conformance(HIDDEN, "--match", "no such test")
    assert "no test" in ended.stdout
    assert ended.returncode == 1
