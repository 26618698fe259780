#!/usr/bin/env python3
"""Checks that the workspace's crates depend only downward, and that PyO3 stays at the top.

Reads `cargo metadata`. Guarantees, when it exits with 0: every crate of the workspace has a layer
in `LAYERS`; every dependency on another crate of the workspace (also a dev- or build-dependency)
points to a lower layer, or is one of `WITHIN_LAYER`; no crate except `manyhands-python` names a
PyO3 crate. Says nothing about modules within a crate.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

LAYERS: dict[str, int] = {
    "manyhands-sys": 0,
    "manyhands-sync": 1,
    "manyhands-shm": 1,
    "manyhands-queue": 2,
    "manyhands-collections": 2,
    "manyhands-metrics": 2,
    "manyhands-process": 3,
    "manyhands-reactor": 4,
    "manyhands-pool": 4,
    "manyhands-observe": 4,
    "manyhands-macros": 5,
    "manyhands": 5,
    "manyhands-python": 5,
}
# (dependent, dependency) pairs that are ordered although they share a layer.
WITHIN_LAYER = {
    ("manyhands-shm", "manyhands-sync"),  # the heap may wait; waiting needs no heap
    ("manyhands", "manyhands-macros"),  # the facade re-exports `#[task]`
}
PYTHON_CRATE = "manyhands-python"


def main() -> int:
    """Prints each violation as a sentence; returns the exit status."""
    command = ["cargo", "metadata", "--format-version=1", "--no-deps", "--offline"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    metadata = json.loads(answer.stdout)
    faults = list(violations(metadata["packages"]))
    for fault in faults:
        print(f"layers: {fault}", file=sys.stderr)
    if not faults:
        print(f"layers: {len(metadata['packages'])} crates, all dependencies point downward")
    return 1 if faults else 0


def violations(packages: list[dict[str, Any]]) -> Iterator[str]:
    """Yields one sentence per broken rule, for the `packages` of `cargo metadata`."""
    members = {package["name"] for package in packages}
    for package in packages:
        name = package["name"]
        if name not in LAYERS:
            yield f"{name} has no layer: give it one in tools/check_layers.py and ARCHITECTURE.md."
            continue
        for dependency in sorted({dependency["name"] for dependency in package["dependencies"]}):
            if dependency.startswith("pyo3") and name != PYTHON_CRATE:
                yield f"{name} names {dependency}: only {PYTHON_CRATE} may know Python."
            if dependency in members and not points_down(name, dependency):
                yield (
                    f"{name} (layer {LAYERS[name]}) depends on {dependency} "
                    f"(layer {LAYERS.get(dependency, '?')}): dependencies point downward."
                )


def points_down(dependent: str, dependency: str) -> bool:
    """Whether `dependent` may depend on `dependency`, both crates of the workspace."""
    if (dependent, dependency) in WITHIN_LAYER:
        return True
    return LAYERS.get(dependency, len(LAYERS)) < LAYERS[dependent]


if __name__ == "__main__":
    sys.exit(main())
