"""What the tour measures in one Python source file, and what it finds in many.

`measure_file` is the task that every lane of the tour runs: it is pure, needs
nothing but the path, and gives equal answers wherever it runs, so that lanes can
be compared with ``==``.

Cyclomatic complexity is counted as McCabe did: one for the function and one for
each place where the flow can turn (``if``, loop, ``except``, ``case``, operand of
``and``/``or``, ``if`` of a comprehension, conditional expression, ``assert``).  A
nested function counts for itself, not for the one around it.

It does not import or run the files it reads.
"""

from __future__ import annotations

import ast
import os
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from typing import NamedTuple

_TURNS = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.Assert,
    ast.match_case,
)
_NESTS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class FunctionMetrics(NamedTuple):
    """One function: where it is, how long (lines), how complex, how deeply nested."""

    name: str
    line: int
    n_lines: int
    complexity: int
    nesting: int


class FileMetrics(NamedTuple):
    """One file. `problem` says why it could not be parsed, and is empty otherwise."""

    path: str
    n_bytes: int
    n_lines: int
    n_functions: int
    n_classes: int
    n_nodes: int
    most_complex: FunctionMetrics | None
    longest: FunctionMetrics | None
    deepest: FunctionMetrics | None
    problem: str


def measure_file(path: str) -> FileMetrics:
    r"""Read, parse and measure the source file at `path`.

    A file that is not valid Python (the standard library's tests ship some on
    purpose) is a finding, not an error: it comes back with its `problem`.

    Raises OSError when the file cannot be read.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
    ...     _ = file.write("def f(x):\n    return 1 if x else 2\n")
    ...     file.flush()
    ...     found = measure_file(file.name)
    >>> found.n_functions, found.most_complex.name, found.most_complex.complexity
    (1, 'f', 2)
    """
    with open(path, "rb") as file:
        source = file.read()
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError, tokenize.TokenError) as error:
        problem = f"{type(error).__name__}: {error.args[0] if error.args else error}"
        return FileMetrics(path, len(source), 0, 0, 0, 0, None, None, None, problem)
    functions: list[FunctionMetrics] = []
    n_classes = n_nodes = 0
    for node in ast.walk(tree):
        n_nodes += 1
        if isinstance(node, _FUNCTIONS):
            functions.append(_measure_function(node))
        elif isinstance(node, ast.ClassDef):
            n_classes += 1
    return FileMetrics(
        path,
        len(source),
        source.count(b"\n") + (not source.endswith(b"\n") and bool(source)),
        len(functions),
        n_classes,
        n_nodes,
        max(functions, key=lambda function: function.complexity, default=None),
        max(functions, key=lambda function: function.n_lines, default=None),
        max(functions, key=lambda function: function.nesting, default=None),
        "",
    )


def ignore_syntax_warnings() -> None:
    """Keep quiet about odd escapes in the sources that are measured.

    Once per process, not around each file: the warning filters belong to the whole
    process, and threads that changed them around each file would undo each other.
    """
    for category in (SyntaxWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category)


def standard_library_files() -> list[str]:
    """List every ``.py`` file of the running Python's standard library, sorted.

    Raises FileNotFoundError, with what to do, where Python was installed without
    its sources.
    """
    root = sysconfig.get_path("stdlib")
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - {"site-packages", "dist-packages", "__pycache__"})
        found += [f"{folder}/{name}" for name in names if name.endswith(".py")]
    if not found:
        raise FileNotFoundError(
            f"There is no Python source file under {root}. This Python was installed without "
            "its standard library's sources; run the tour with one that has them."
        )
    return sorted(found)


def _measure_function(function: ast.FunctionDef | ast.AsyncFunctionDef) -> FunctionMetrics:
    complexity, nesting = 1, 0
    for node, depth in _own_nodes(function):
        nesting = max(nesting, depth)
        if isinstance(node, _TURNS):
            complexity += 1
        elif isinstance(node, ast.BoolOp):
            complexity += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            complexity += 1 + len(node.ifs)
    n_lines = (function.end_lineno or function.lineno) - function.lineno + 1
    return FunctionMetrics(function.name, function.lineno, n_lines, complexity, nesting)


def _own_nodes(function: ast.AST) -> Iterator[tuple[ast.AST, int]]:
    """Walk `function` without the functions and classes inside it, with the depth of blocks."""
    pending = [(child, 0) for child in ast.iter_child_nodes(function)]
    while pending:
        node, outer_depth = pending.pop()
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            continue
        depth = outer_depth + isinstance(node, _NESTS)
        yield node, depth
        elif_branch = _elif_of(node)
        # An elif is written beside its if, although the tree has it inside.
        pending += [
            (child, outer_depth if child is elif_branch else depth)
            for child in ast.iter_child_nodes(node)
        ]


def _elif_of(node: ast.AST) -> ast.If | None:
    if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        return node.orelse[0]
    return None
