#!/usr/bin/env python3
"""Checks what the house rules say about source files and that a tool can see.

Guarantees, when it exits with 0, for every tracked or new Rust and Python file: at most 600
lines, at most 100 columns (Python's are ruff's), an opening `//!` or docstring, and a name that
says a subject. No code that ships (`src`, `python/manyhands`) offers its processor to others: on
busy cores that costs milliseconds, so who waits spins for a moment and then sleeps
(`crates/sync/src/spin.rs`). The unsafe rules are clippy's.

Excepted: rows of tables in comments, which cannot be broken; the length of stubs, which follow
their module; names that the standard library gives; yields in tests and in loom's models.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_LINES = 600
MAX_COLUMNS = 100
SOURCES = ("*.rs", "*.py", "*.pyi")
TABLE_ROW = re.compile(r"\s*//[!/] \|.*\|$")
YIELD = re.compile(r"(?<!loom::thread::)\b(yield_now|sched_yield)\b|\bsleep\(0(\.0*)?\)")
COMMENT = re.compile(r"\s*(//|#(?!\[))")
TEST_MODULE = re.compile(r"#\[cfg\((all\()?test\b")
SHIPPED = re.compile(r"(^|/)(src|python/manyhands)/")
STANDARD_NAMES = Path("python/manyhands/multiprocessing")
GRAB_BAGS = {"utils", "util", "common", "helpers", "helper", "shared", "misc"}


def main(argv: list[str]) -> int:
    """Checks the given files, or all sources of the repository; prints one sentence per fault."""
    files = [Path(name) for name in argv] or tracked_sources()
    faults = [f"{path}: {fault}" for path in files for fault in violations(path)]
    for fault in faults:
        print(f"tree: {fault}", file=sys.stderr)
    if not files:
        print("tree: no source file found: run this inside the repository.", file=sys.stderr)
    if not faults and files:
        print(f"tree: {len(files)} source files, each short and opened by what it is")
    return 1 if faults or not files else 0


def tracked_sources() -> list[Path]:
    """The source files that git tracks or would add; outside of git, all but build products."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *SOURCES]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    if listing.returncode:  # An unpacked source distribution.
        found = (path for pattern in SOURCES for path in Path().rglob(pattern))
        return [path for path in found if not {"target", "site-packages"} & set(path.parts)]
    return [path for path in map(Path, listing.stdout.splitlines()) if path.exists()]


def violations(path: Path) -> Iterator[str]:
    """Yields one sentence per broken rule of one file."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if len(lines) > MAX_LINES and path.suffix != ".pyi":
        yield f"{len(lines)} lines, at most {MAX_LINES}: look for its second subject."
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS and not TABLE_ROW.match(line):
            yield f"line {number} has {len(line)} columns, at most {MAX_COLUMNS}."
    if path.stem in GRAB_BAGS and path.parent != STANDARD_NAMES:
        yield "the name is a grab-bag: name the file after its one subject."
    if ships(path):
        for number in yields(lines):
            yield f"line {number} yields the processor: spin for a moment, then sleep on a word."
    if lines and not opens_with_documentation(path, text):
        yield "open the file with //! or a docstring: what it is, guarantees, does not do."


def ships(path: Path) -> bool:
    """Whether the file is part of what people install, and not of the tests beside it."""
    return bool(SHIPPED.search(path.as_posix()))


def yields(lines: list[str]) -> Iterator[int]:
    """The numbers of the lines outside of test modules that offer the processor to others."""
    is_test = False
    for number, line in enumerate(lines, 1):
        # A test module ends with the first brace that is not indented.
        is_test = line != "}" if is_test else bool(TEST_MODULE.match(line))
        if not is_test and not COMMENT.match(line) and YIELD.search(line):
            yield number


def opens_with_documentation(path: Path, text: str) -> bool:
    """Whether the first thing in a source file says what the file is."""
    if path.suffix == ".rs":
        return text.startswith("//!")
    return ast.get_docstring(ast.parse(text)) is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
