"""The check on what a test leaves behind: it fails a test that leaks, and names what was left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
SHARED = Path(f"/dev/shm/left-by-test-{os.getpid()}")
LEAKS = {
    "child process": (
        # It ends by itself with pytest, at the end of its standard input.
        "import subprocess\ndef test_leak():\n"
        "    globals()['kept'] = subprocess.Popen(['cat'], stdin=subprocess.PIPE)\n",
        "process ",
    ),
    "zombie": (
        "import os\ndef test_leak():\n    os.fork() or os._exit(0)\n",
        "(zombie)",
    ),
    "thread": (
        "import threading\ndef test_leak():\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True, name='T').start()\n",
        "thread 'T'",
    ),
    "shared memory": (
        f"import pathlib\ndef test_leak():\n    pathlib.Path({str(SHARED)!r}).touch()\n",
        str(SHARED),
    ),
}


def run_pytest(folder, source):
    conftest = CONFTEST.read_text(encoding="utf-8").replace("SETTLING_S = 10.0", "SETTLING_S = 0.1")
    (folder / "conftest.py").write_text(conftest, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = leaves(reason): x\n", encoding="utf-8")
    (folder / "test_it.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", folder]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("source", "named"), LEAKS.values(), ids=LEAKS.keys())
def test_a_test_that_leaks_fails_and_the_leak_is_named(source, named, tmp_path):
    try:
        run = run_pytest(tmp_path, source)
    finally:
        SHARED.unlink(missing_ok=True)
    assert run.returncode == 1, run.stdout
    assert "left behind: " in run.stdout
    assert named in run.stdout


def test_a_test_may_leak_if_it_says_why(tmp_path):
    mark = "@pytest.mark.leaves('on purpose')\ndef"
    source = "import pytest\n" + LEAKS["thread"][0].replace("def", mark)
    run = run_pytest(tmp_path, source)
    assert run.returncode == 0, run.stdout


def test_a_test_that_tidies_up_passes(tmp_path):
    source = "import subprocess\ndef test_tidy():\n    subprocess.run(['true'])\n"
    run = run_pytest(tmp_path, source)
    assert run.returncode == 0, run.stdout
