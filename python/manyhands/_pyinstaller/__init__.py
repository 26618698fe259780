"""What PyInstaller has to know of this package: it asks through an entry point of the distribution.

PyInstaller follows import statements. The modules here that are imported when they are first needed
are not found in that way, so the hook beside this file names them all.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["hook_dirs"]


def hook_dirs() -> list[str]:
    """Folders with hooks for PyInstaller."""
    return [str(Path(__file__).parent)]
