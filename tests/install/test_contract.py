"""What the compiled part uses of Python code is there, on this Python."""

from manyhands import _runtime


def test_all_that_rust_calls_in_python_is_there():
    assert _runtime.check_contract() == []
