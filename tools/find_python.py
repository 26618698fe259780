#!/usr/bin/env python3
"""Prints the path of an installed CPython that fits: `oldest`, `newest`, or a version like `3.13`.

`oldest` and `newest` are the lowest and the highest suitable version on PATH and among pyenv's:
what works on both ends works between. Suitable means: CPython 3.11 or later that can make a
virtual environment, final release, with the GIL (a free-threaded build is asked for by path).
The environment variables MANYHANDS_PYTHON and MANYHANDS_PYTHON_NEWEST override the search.
Installs nothing; exits with status 1 and one sentence where nothing fits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
NEWEST_CONSIDERED = (3, 16)
OVERRIDES = {"oldest": "MANYHANDS_PYTHON", "newest": "MANYHANDS_PYTHON_NEWEST"}
PROBE = """
import ensurepip, json, platform, sys, sysconfig, venv
print(json.dumps({
    "path": sys.executable,
    "version": list(sys.version_info[:3]),
    "fits": platform.python_implementation() == "CPython"
        and sys.version_info.releaselevel == "final"
        and not sysconfig.get_config_var("Py_GIL_DISABLED"),
}))
"""

Version = tuple[int, ...]


def main(argv: list[str]) -> int:
    """Prints one path, or one sentence on standard error."""
    if len(argv) != 1:
        print("usage: find_python.py oldest|newest|3.N", file=sys.stderr)
        return 2
    wanted = argv[0]
    chosen = os.environ.get(OVERRIDES.get(wanted, ""), "") or choose(wanted, candidates())
    if not chosen:
        print(
            f"find_python: no CPython fits {wanted!r}: install CPython "
            f"{'.'.join(map(str, OLDEST))} or later with the venv and ensurepip modules, "
            f"or name one in {OVERRIDES.get(wanted, 'MANYHANDS_PYTHON')}.",
            file=sys.stderr,
        )
        return 1
    print(chosen)
    return 0


def choose(wanted: str, found: list[tuple[Version, str]]) -> str | None:
    """The path that fits `wanted` among (version, path) pairs in search order, or None."""
    suitable = [pair for pair in found if pair[0] >= OLDEST]
    if wanted not in OVERRIDES:
        series = tuple(int(part) for part in wanted.split("."))
        suitable = [pair for pair in suitable if pair[0][: len(series)] == series]
    if not suitable:
        return None
    if wanted == "oldest":
        return min(suitable, key=lambda pair: pair[0][:2])[1]
    return max(suitable, key=lambda pair: pair[0])[1]


def candidates() -> list[tuple[Version, str]]:
    """All fitting interpreters, in search order: PATH first, then pyenv."""
    names = ["python3", *(f"python3.{minor}" for minor in range(OLDEST[1], NEWEST_CONSIDERED[1]))]
    folders = [Path(folder) for folder in os.get_exec_path()]
    paths = [folder / name for name in names for folder in folders]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    if pyenv.is_dir():
        paths += sorted(version / "bin" / "python3" for version in pyenv.iterdir())
    found = []
    seen = set()
    for path in paths:
        probed = probe(path) if os.access(path, os.X_OK) else None
        if probed and probed[1] not in seen:
            seen.add(probed[1])
            found.append(probed)
    return found


def probe(path: Path) -> tuple[Version, str] | None:
    """Asks an interpreter what it is; None if it does not fit or does not start."""
    command = [str(path), "-I", "-c", PROBE]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        facts = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # A broken shim or a Python without venv: not one that we can use.
    return (tuple(facts["version"]), facts["path"]) if facts["fits"] else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
