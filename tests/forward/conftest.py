"""Shares the bare worker of the pickling tests."""

import runpy
import sys
from pathlib import Path

PICKLING = Path(__file__).resolve().parents[1] / "pickling"
if str(PICKLING) not in sys.path:
    sys.path.insert(0, str(PICKLING))
runpy.run_path(str(PICKLING / "conftest.py"))
