"""Shares the bare worker of the pickling tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pickling"))
