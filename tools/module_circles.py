#!/usr/bin/env python3
"""Circles among the files of a crate: files each of which needs, through the others, itself.

Reads `use` lines (not `pub use`, by which a module shows what another one has, and not those of
`#[cfg(test)]` modules). A name that a module shows leads to the file that has it. What it does not
see: paths that are written out where they are used, and what macros expand to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

USE = re.compile(r"^[ \t]*(pub(?:\([a-z: ]+\))? )?use ([^;]+);", re.MULTILINE)
TESTS = re.compile(r"^#\[cfg\((?:all\()?test\b.*", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"//.*")

Path_ = tuple[str, ...]  # of a module below the crate, () is the crate itself


def circles(source: Path) -> list[list[str]]:
    """The circles of the crate whose root is in `source`, as files below it; the largest first."""
    needs = needed_files(source)
    found = [sorted(circle) for circle in components(needs) if len(circle) > 1]
    return sorted(found, key=lambda circle: (-len(circle), circle))


def needed_files(source: Path) -> dict[str, set[str]]:
    """For each file of the crate the files that its `use` lines need."""
    texts = {path_of(file.relative_to(source)): file for file in sorted(source.rglob("*.rs"))}
    private: dict[Path_, list[Path_]] = {}
    shown: dict[Path_, dict[str, Path_]] = {}
    for module, file in texts.items():
        private[module], shown[module] = [], {}
        text = COMMENT.sub("", TESTS.sub("", file.read_text()))
        for public, tree in USE.findall(text):
            for path, name in leaves(tree):
                absolute = resolved(path, module, texts)
                if absolute is None:
                    continue
                if public:
                    shown[module][name] = absolute
                else:
                    private[module].append(absolute)
    name_of = {module: str(file.relative_to(source)) for module, file in texts.items()}
    needs: dict[str, set[str]] = {name: set() for name in name_of.values()}
    for module, paths in private.items():
        targets = {home(path, texts, shown) for path in paths}
        needs[name_of[module]] = {name_of[target] for target in targets - {module}}
    return needs


def path_of(file: Path) -> Path_:
    """The module that a file of a crate is."""
    parts = file.with_suffix("").parts
    return parts[:-1] if parts[-1] in ("lib", "main", "mod") else parts


def leaves(tree: str) -> Iterator[tuple[Path_, str]]:
    """Each path that a `use` names, with the name it has here."""
    tree = " ".join(tree.split())
    if (brace := tree.find("{")) < 0:
        written, _, name = tree.partition(" as ")
        parts = tuple(part.strip() for part in written.split("::"))
        if parts[-1] == "self":
            parts = parts[:-1]
        yield parts, name or (parts[-1] if parts else "self")
        return
    head = tuple(part for part in tree[:brace].split("::") if part.strip())
    for branch in split(tree[brace + 1 : tree.rindex("}")]):
        for path, name in leaves(branch):
            yield head + path, name


def split(branches: str) -> Iterator[str]:
    """The parts between the commas that are in no further braces."""
    depth, part = 0, ""
    for char in branches:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            yield part.strip()
            part = ""
        else:
            part += char
    if part.strip():
        yield part.strip()


def resolved(path: Path_, module: Path_, modules: dict[Path_, Path]) -> Path_ | None:
    """The path from the root of the crate; `None`: it leads to another crate."""
    at = module
    match path[:1]:
        case ("crate",):
            return path[1:]
        case ("self",):
            return module + path[1:]
        case ("super",):
            while path[:1] == ("super",):
                at, path = at[:-1], path[1:]
            return at + path
    return module + path if module + path[:1] in modules else None


def home(path: Path_, modules: dict[Path_, Path], shown: dict[Path_, dict[str, Path_]]) -> Path_:
    """The module that has what `path` names."""
    for _ in range(16):  # names that are shown lead further, but in no circle
        module = path
        while module not in modules:
            module = module[:-1]
        rest = path[len(module) :]
        if not rest or rest[0] not in shown[module]:
            return module
        path = shown[module][rest[0]] + rest[1:]
    return module


def components(needs: dict[str, set[str]]) -> list[set[str]]:
    """Groups in which everybody needs everybody, directly or not (Tarjan, 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(file: str) -> None:
        order[file] = lowest[file] = len(order)
        stack.append(file)
        for other in sorted(needs[file]):
            if other not in order:
                visit(other)
                lowest[file] = min(lowest[file], lowest[other])
            elif other in stack:
                lowest[file] = min(lowest[file], order[other])
        if lowest[file] == order[file]:
            at = stack.index(file)
            found.append(set(stack[at:]))
            del stack[at:]

    for file in sorted(needs):
        if file not in order:
            visit(file)
    return found
