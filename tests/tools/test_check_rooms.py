"""The check of who may import whom finds what it is for, and nothing else."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def check_rooms(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("check_rooms", ROOT / "tools/check_rooms.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "check_rooms", module)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    for path in ("python/manyhands/_worker/a.py", "crates/python/src/a.rs"):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_text("", encoding="utf-8")
    return module


def test_rooms_that_keep_to_themselves_are_fine(check_rooms, capsys):
    Path("python/manyhands/_worker/a.py").write_text(
        "import os\nfrom manyhands import _runtime\nfrom manyhands._mp import child\n", "utf-8"
    )
    Path("crates/python/src/contract.rs").write_text("py.import(module)\n", encoding="utf-8")
    assert check_rooms.main() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "line",
    [
        "import manyhands.futures",
        "from manyhands import install",
        "from manyhands.multiprocessing import context",
        "def f():\n    from manyhands import futures",
    ],
)
def test_a_public_module_in_a_private_room_is_found(check_rooms, capsys, line):
    Path("python/manyhands/_worker/a.py").write_text(line + "\n", encoding="utf-8")
    assert check_rooms.main() == 1
    assert "_worker/a.py: a private room imports manyhands." in capsys.readouterr().err


def test_a_python_module_named_in_rust_is_found(check_rooms, capsys):
    Path("crates/python/src/a.rs").write_text('py.import("os")?;\n', encoding="utf-8")
    assert check_rooms.main() == 1
    assert "a.rs: line 1 imports a Python module" in capsys.readouterr().err


def test_a_folder_without_the_package_is_no_success(check_rooms, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "crates")
    assert check_rooms.main() == 1
    assert "run this inside the repository" in capsys.readouterr().err
