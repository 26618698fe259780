"""The command says in one sentence what it cannot do, and shows what it can."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest


def manyhands(*words, folder=None):
    command = [sys.executable, "-m", "manyhands", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_installed_command_runs_a_program_on_ours(tmp_path):
    script = tmp_path / "program.py"
    script.write_text("import manyhands\nprint(manyhands.is_installed())\n", encoding="utf-8")
    command = Path(sys.executable).parent / "manyhands"
    ended = subprocess.run([command, "run", script], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


@pytest.mark.parametrize("separator", [[], ["--"]], ids=["without --", "with --"])
@pytest.mark.parametrize(
    "words",
    [
        ["program.py"],
        ["-m", "program"],
        ["-c", "import manyhands; print(manyhands.is_installed())"],
    ],
    ids=["script", "module", "code"],
)
def test_a_program_runs_with_ours_installed(words, separator, tmp_path):
    source = "import manyhands\nprint(manyhands.is_installed())\n"
    (tmp_path / "program.py").write_text(source, encoding="utf-8")
    ended = manyhands("run", *separator, *words, folder=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


def test_the_version_is_that_of_the_distribution():
    ended = manyhands("--version")
    assert (ended.returncode, ended.stdout) == (0, f"manyhands {version('manyhands')}\n")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["run", "--help"]])
def test_help_is_printed_on_request(words):
    ended = manyhands(*words)
    assert ended.returncode == 0
    assert ended.stdout.startswith("usage: manyhands run")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "say what to do: `manyhands run SCRIPT`, or `manyhands --help`."),
        (["fly"], "unknown command 'fly': `manyhands --help` lists them."),
        (["go.py"], "unknown command 'go.py': write `manyhands run go.py`."),
        (["run"], "`manyhands run` needs a script, -m MODULE or -c CODE to run."),
        (["run", "--"], "`manyhands run` needs a script, -m MODULE or -c CODE to run."),
        (["run", "-m"], "`manyhands run -m` needs the module's name after it."),
        (["run", "-c"], "`manyhands run -c` needs the text of a program after it."),
        (
            ["run", "-O", "go.py"],
            "`manyhands run` has no option '-O': write options of Python before -m, "
            "`python -O -m manyhands run ...`.",
        ),
        (["run", "no.py"], "there is no file 'no.py': check the path of the script to run."),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_a_command_line_that_cannot_be_followed_is_one_sentence_and_status_2(
    words, sentence, tmp_path
):
    ended = manyhands(*words, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"manyhands: {sentence}\n"
