"""Circles among the files of a crate are found through every form of `use`, and only there."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


module_circles = loaded("module_circles")
check_layers = loaded("check_layers")


@pytest.fixture
def circles(tmp_path):
    def of(**files):
        for name, text in files.items():
            file = tmp_path / f"{name.replace('__', '/')}.rs"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return module_circles.circles(tmp_path)

    return of


def test_files_that_need_each_other_only_one_way_are_no_circle(circles):
    assert not circles(a="use crate::b::B;\nuse crate::c::C;", b="use crate::c::C;", c="")


def test_a_circle_is_found_through_files_in_between(circles):
    found = circles(a="use crate::b::B;", b="use crate::c::C;", c="use crate::a::A;", d="")
    assert found == [["a.rs", "b.rs", "c.rs"]]


def test_the_largest_circle_comes_first(circles):
    found = circles(
        a="use crate::b::B;",
        b="use crate::a::A;",
        c="use crate::d::D;",
        d="use crate::e::E;",
        e="use crate::c::C;",
    )
    assert [len(circle) for circle in found] == [3, 2]


@pytest.mark.parametrize(
    "use",
    [
        "use crate::b::B;",
        "use crate::b;",
        "use crate::b::{self, B};",
        "use crate::{b::B as Other, c::C};",
        "use crate::{\n    c,\n    b::{B,\n        C},\n};",
        "use super::b::B;",
        "    use crate::b::B;",
    ],
)
def test_every_form_of_use_is_read(circles, use):
    assert circles(a=use, b="use crate::a::A;", c="") == [["a.rs", "b.rs"]]


def test_a_name_that_a_module_shows_leads_to_the_file_that_has_it(circles):
    found = circles(
        lib="mod room;\npub use room::Thing;",
        room__mod="mod thing;\npub use thing::Thing;",
        room__thing="use crate::user::User;",
        user="use crate::Thing;",
    )
    assert found == [["room/thing.rs", "user.rs"]]


def test_to_show_what_another_file_has_is_not_to_need_it(circles):
    assert not circles(a="pub use crate::b::B;\npub(crate) use crate::b::C;", b="use crate::a::A;")


def test_a_child_and_its_parent_may_need_each_other(circles):
    found = circles(room__mod="mod thing;\nuse thing::Thing;", room__thing="use super::Room;")
    assert found == [["room/mod.rs", "room/thing.rs"]]


def test_what_only_tests_and_comments_name_is_not_needed(circles):
    tests = "#[cfg(test)]\nmod tests {\n    use crate::b::B;\n}"
    assert not circles(a=f"// use crate::b::B;\n{tests}", b="use crate::a::A;")


def test_other_crates_are_not_taken_for_modules(circles):
    assert not circles(a="use std::sync::Arc;\nuse manyhands_sys::b::B;", b="use crate::a::A;")


def sentences(name, *sizes):
    found = [[f"{idx}.rs" for idx in range(size)] for size in sizes]
    return list(check_layers.circle_faults(name, found))


def test_a_circle_of_three_files_is_accepted():
    assert not sentences("manyhands-sys", 3, 2)


def test_a_circle_of_four_files_is_named():
    (fault,) = sentences("manyhands-sys", 4)
    assert "manyhands-sys: 4 files need each other in a circle: 0.rs, 1.rs, 2.rs, 3.rs" in fault


def test_a_known_circle_is_accepted_and_may_not_grow(monkeypatch):
    monkeypatch.setitem(check_layers.KNOWN_CIRCLES, "manyhands-sys", [6, 4])
    assert not sentences("manyhands-sys", 6, 4, 3)
    (fault,) = sentences("manyhands-sys", 7, 4)
    assert "7 files" in fault
    (fault,) = sentences("manyhands-sys", 6, 4, 4)
    assert "4 files" in fault


def test_a_known_circle_that_has_shrunk_is_listed_with_its_new_size(monkeypatch):
    monkeypatch.setitem(check_layers.KNOWN_CIRCLES, "manyhands-sys", [6, 4])
    for sizes, now in [((5, 4), "[5, 4]"), ((6,), "[6]"), ((), "[]")]:
        (fault,) = sentences("manyhands-sys", *sizes)
        assert f"have shrunk: KNOWN_CIRCLES in tools/check_layers.py is {now} now" in fault
