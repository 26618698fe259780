#!/usr/bin/env python3
"""Checks that crates depend only downward, modules in no large circle, and PyO3 is at the top.

Reads `cargo metadata`. Guarantees, when it exits with 0: every crate of the workspace has a layer
in `LAYERS`, and the list names no other; every dependency on another crate of the workspace (also a
dev- or build-dependency) points to a lower layer, or is one of `WITHIN_LAYER`; no crate except
`manyhands-python` names a PyO3 crate; what only tests use is a dev-dependency wherever it is one,
and is not published; no more than three files of a crate need each other in a circle
(`module_circles.py`), but for those of `KNOWN_CIRCLES`, which may only shrink.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from module_circles import circles

LAYERS: dict[str, int] = {
    "manyhands-sys": 0,
    "manyhands-sync": 1,
    "manyhands-shm": 1,
    "manyhands-queue": 2,
    "manyhands-collections": 2,
    "manyhands-testing": 2,
    "manyhands-process": 3,
    "manyhands-pool": 4,
    "manyhands-macros": 5,
    "manyhands": 5,
    "manyhands-python": 5,
}
# (dependent, dependency) pairs that are ordered although they share a layer.
WITHIN_LAYER = {
    ("manyhands-shm", "manyhands-sync"),  # the heap may wait; waiting needs no heap
    ("manyhands", "manyhands-macros"),  # the facade re-exports `#[task]`
}
# What tests of any crate use, also of those below it: it never becomes part of them.
DEV_ONLY = "manyhands-testing"
PYTHON_CRATE = "manyhands-python"

# Files that need each other are read together: so many still fit into a head.
LARGEST_CIRCLE = 3
# Circles that are larger still, by their number of files: to be cut, and never to grow.
KNOWN_CIRCLES: dict[str, list[int]] = {
    "manyhands-python": [4],
    "manyhands-queue": [4],
    "manyhands-sync": [4],
}


def main() -> int:
    """Prints each violation as a sentence; returns the exit status."""
    command = ["cargo", "metadata", "--format-version=1", "--no-deps", "--offline"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    metadata = json.loads(answer.stdout)
    faults = list(violations(metadata["packages"]))
    for package in metadata["packages"]:
        source = Path(package["manifest_path"]).parent / "src"
        faults.extend(circle_faults(package["name"], circles(source)))
    for fault in faults:
        print(f"layers: {fault}", file=sys.stderr)
    if not faults:
        n_crates = len(metadata["packages"])
        print(f"layers: {n_crates} crates, dependencies point downward, no new circles")
    return 1 if faults else 0


def violations(packages: list[dict[str, Any]]) -> Iterator[str]:
    """Yields one sentence per broken rule, for the `packages` of `cargo metadata`."""
    members = {package["name"] for package in packages}
    for name in sorted(LAYERS.keys() - members):
        yield f"{name} has a layer in tools/check_layers.py and is no crate of the workspace."
    for package in packages:
        name = package["name"]
        if name not in LAYERS:
            yield f"{name} has no layer: give it one in tools/check_layers.py and ARCHITECTURE.md."
            continue
        if name == DEV_ONLY and package["publish"] != []:
            yield f"{name} is for tests only: it has `publish = false`."
        for dependency, kind in sorted(named_by(package)):
            if dependency == DEV_ONLY:
                if kind != "dev":
                    yield f"{name} depends on {dependency}: only its tests may."
                continue
            if dependency.startswith("pyo3") and name != PYTHON_CRATE:
                yield f"{name} names {dependency}: only {PYTHON_CRATE} may know Python."
            if dependency in members and not points_down(name, dependency):
                yield (
                    f"{name} (layer {LAYERS[name]}) depends on {dependency} "
                    f"(layer {LAYERS.get(dependency, '?')}): dependencies point downward."
                )


def circle_faults(name: str, found: list[list[str]]) -> Iterator[str]:
    """Yields one sentence per circle of the crate that is too large, or smaller than listed."""
    large = [circle for circle in found if len(circle) > LARGEST_CIRCLE]
    known = KNOWN_CIRCLES.get(name, [])
    for idx, circle in enumerate(large):
        if len(circle) > (known[idx] if idx < len(known) else LARGEST_CIRCLE):
            yield f"{name}: {len(circle)} files need each other in a circle: {', '.join(circle)}."
    sizes = [len(circle) for circle in large] + [0] * len(known)
    if any(size < listed for size, listed in zip(sizes, known, strict=False)):
        now = [len(circle) for circle in large]
        yield f"{name}: circles have shrunk: KNOWN_CIRCLES in tools/check_layers.py is {now} now."


def named_by(package: dict[str, Any]) -> set[tuple[str, str]]:
    """The dependencies of `package`: name, and "normal", "dev" or "build"."""
    return {(named["name"], named["kind"] or "normal") for named in package["dependencies"]}


def points_down(dependent: str, dependency: str) -> bool:
    """Whether `dependent` may depend on `dependency`, both crates of the workspace."""
    if (dependent, dependency) in WITHIN_LAYER:
        return True
    return LAYERS.get(dependency, len(LAYERS)) < LAYERS[dependent]


if __name__ == "__main__":
    sys.exit(main())
