"""The layer check accepts the workspace as designed and names each way to break it."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("check_layers", ROOT / "tools/check_layers.py")
check_layers = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_layers)


def crate(name, *dependencies):
    return {"name": name, "dependencies": [{"name": dependency} for dependency in dependencies]}


def violations(*packages):
    return list(check_layers.violations(list(packages)))


def test_dependencies_that_point_downward_are_accepted():
    assert not violations(
        crate("manyhands-sys", "libc"),
        crate("manyhands-shm", "manyhands-sys"),
        crate("manyhands-pool", "manyhands-shm", "manyhands-sys"),
        crate("manyhands-python", "manyhands-pool", "pyo3"),
    )


def test_a_dependency_that_points_upward_is_named():
    (fault,) = violations(crate("manyhands-sys", "manyhands-pool"), crate("manyhands-pool"))
    assert "manyhands-sys (layer 0) depends on manyhands-pool (layer 4)" in fault


def test_a_dependency_within_a_layer_is_named():
    (fault,) = violations(crate("manyhands-pool", "manyhands-reactor"), crate("manyhands-reactor"))
    assert "manyhands-pool" in fault


def test_a_crate_below_the_binding_that_names_pyo3_is_named():
    (fault,) = violations(crate("manyhands-pool", "pyo3-ffi"))
    assert "manyhands-pool names pyo3-ffi" in fault


def test_a_crate_without_a_layer_is_named():
    (fault,) = violations(crate("manyhands-surprise"))
    assert "manyhands-surprise has no layer" in fault
