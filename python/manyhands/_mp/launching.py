"""How processes are launched: which template, with which modules in it."""

from __future__ import annotations

_preload: tuple[str, ...] = ()


def set_preload(module_names: list[str]) -> None:
    """Names of modules that templates import, from now on."""
    global _preload
    names = tuple(module_names)
    if not all(isinstance(name, str) for name in names):
        raise TypeError("module_names must be a list of strings")
    _preload = names
