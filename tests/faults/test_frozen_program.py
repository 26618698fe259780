"""A program that PyInstaller made: it has no interpreter to start, and is never started again."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.timeout(300), pytest.mark.any_python]

PROGRAM = """
import os, sys
from manyhands import multiprocessing as mp
from manyhands.futures import ProcessPoolExecutor


def square(number):
    return number * number


if __name__ == "__main__":
    mp.freeze_support()
    assert sys.frozen
    with open("started", "a") as file:
        file.write("again ")
    with ProcessPoolExecutor(2) as executor:
        print(list(executor.map(square, range(4))))
    with mp.Pool(2) as pool:
        print(pool.map(square, range(4)))
    queue = mp.Queue()
    process = mp.Process(target=queue.put, args=(5,))
    process.start()
    print(queue.get())
    process.join()
    with mp.Manager() as manager:
        squares = manager.dict({1: 1})
        print(dict(squares))
    try:
        mp.get_context("spawn").Process(target=abs, args=(1,)).start()
    except RuntimeError as error:
        print(error)
"""


@pytest.mark.parametrize("kind", ["--onedir", "--onefile"])
def test_a_frozen_program_has_pools_and_processes(tmp_path, kind):
    (tmp_path / "app.py").write_text(PROGRAM)
    build = [
        sys.executable,
        "-m",
        "PyInstaller",
        "--log-level=ERROR",
        "--noconfirm",
        kind,
        "app.py",
    ]
    subprocess.run(build, cwd=tmp_path, check=True, timeout=250)
    program = tmp_path / "dist" / ("app" if kind == "--onefile" else "app/app")
    # Nothing of this environment's must be of help.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [program], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[:4] == ["[0, 1, 4, 9]", "[0, 1, 4, 9]", "5", "{1: 1}"]
    assert "this frozen program, not a Python interpreter; use start method 'fork'" in lines[4]
    assert (tmp_path / "started").read_text() == "again "
