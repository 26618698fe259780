"""The layer check accepts the workspace as designed and names each way to break it."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("check_layers", ROOT / "tools/check_layers.py")
check_layers = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_layers)


def crate(name, *dependencies, kind=None, publish=None):
    named = [{"name": dependency, "kind": kind} for dependency in dependencies]
    return {"name": name, "dependencies": named, "publish": publish}


def violations(*packages):
    """The faults of a workspace of these crates and, without dependencies, of all others."""
    given = {package["name"] for package in packages}
    others = [crate(name, publish=[]) for name in check_layers.LAYERS if name not in given]
    return list(check_layers.violations([*packages, *others]))


def test_dependencies_that_point_downward_are_accepted():
    assert not violations(
        crate("manyhands-sys", "libc"),
        crate("manyhands-shm", "manyhands-sys"),
        crate("manyhands-pool", "manyhands-shm", "manyhands-sys"),
        crate("manyhands-python", "manyhands-pool", "pyo3"),
    )


def test_a_dependency_that_points_upward_is_named():
    (fault,) = violations(crate("manyhands-sys", "manyhands-pool"))
    assert "manyhands-sys (layer 0) depends on manyhands-pool (layer 4)" in fault


def test_a_dependency_within_a_layer_is_named():
    (fault,) = violations(crate("manyhands-queue", "manyhands-collections"))
    assert "manyhands-queue (layer 2) depends on manyhands-collections (layer 2)" in fault


def test_a_crate_below_the_binding_that_names_pyo3_is_named():
    (fault,) = violations(crate("manyhands-pool", "pyo3-ffi"))
    assert "manyhands-pool names pyo3-ffi" in fault


def test_a_crate_without_a_layer_is_named():
    (fault,) = violations(crate("manyhands-surprise"))
    assert "manyhands-surprise has no layer" in fault


def test_a_layer_for_a_crate_that_does_not_exist_is_named():
    packages = [crate(name, publish=[]) for name in check_layers.LAYERS if name != "manyhands-pool"]
    (fault,) = check_layers.violations(packages)
    assert "manyhands-pool has a layer" in fault


def test_what_tests_use_may_stand_above_the_crate_that_it_tests():
    assert not violations(crate("manyhands-sync", "manyhands-testing", kind="dev"))


def test_what_tests_use_is_named_where_it_would_become_part_of_a_crate():
    for kind in (None, "build"):
        (fault,) = violations(crate("manyhands-pool", "manyhands-testing", kind=kind))
        assert "manyhands-pool depends on manyhands-testing: only its tests may" in fault


def test_what_tests_use_is_named_if_it_would_be_published():
    (fault,) = violations(crate("manyhands-testing"))
    assert "publish = false" in fault
