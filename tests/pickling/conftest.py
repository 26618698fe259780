"""Makes the pure-Python modules importable, whether or not the package is installed."""

import sys
import types
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

HERE = Path(__file__).resolve().parent
for entry in (str(HERE), str(HERE.parents[1] / "python")):
    if entry not in sys.path:
        sys.path.insert(0, entry)

if "manyhands._errors" not in sys.modules and not find_spec("manyhands._errors"):
    errors = types.ModuleType("manyhands._errors")

    class UnpicklableResult(BrokenProcessPool, UnpicklingError):
        pass

    errors.UnpicklableResult = UnpicklableResult
    sys.modules["manyhands._errors"] = errors
