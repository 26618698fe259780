"""Makes the helper modules of this folder importable."""

import concurrent.futures.process  # noqa: F401 - every pool has it before it pickles
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
