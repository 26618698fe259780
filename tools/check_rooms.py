#!/usr/bin/env python3
"""Checks who may import whom between the rooms of the Python package, and from Rust.

Guarantees, when it exits with 0: no module in a private room (`python/manyhands/_name/`) imports a
public module of the package, at its top or in a function; no Rust file but `contract.rs` imports a
Python module. Excepted: `_tour`, which is a program that uses the public modules.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path("python/manyhands")
BINDING = Path("crates/python/src")
CONTRACT = "contract.rs"
USES_PUBLIC = "_tour"
RUST_IMPORT = re.compile(r"\.import\(|\bPyModule::import\b|import_bound\(")


def main() -> int:
    """Checks the repository in the current directory; prints one sentence per fault."""
    python = sorted(path for path in PACKAGE.glob("_*/**/*.py") if path.parts[2] != USES_PUBLIC)
    rust = sorted(path for path in BINDING.rglob("*.rs") if path.name != CONTRACT)
    if not python or not rust:
        print("rooms: no files found: run this inside the repository.", file=sys.stderr)
        return 1
    faults = [f"{path}: {fault}" for path in python for fault in public_imports(path)]
    faults += [f"{path}: {fault}" for path in rust for fault in rust_imports(path)]
    for fault in faults:
        print(f"rooms: {fault}", file=sys.stderr)
    if not faults:
        print(f"rooms: {len(python)} private modules, none imports a public one")
    return 1 if faults else 0


def public_imports(path: Path) -> Iterator[str]:
    """One sentence for each import of a public module of the package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "manyhands":
            names = [f"manyhands.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "manyhands" and not rest.startswith("_"):
                yield f"a private room imports {name}, which is public: import what that exports."


def rust_imports(path: Path) -> Iterator[str]:
    """One sentence for each import of a Python module."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if RUST_IMPORT.search(line):
            yield f"line {number} imports a Python module: add what it needs to {CONTRACT}."


if __name__ == "__main__":
    sys.exit(main())
