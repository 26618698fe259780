"""Thread pools, process pools and futures whose work can be stopped and whose workers may die."""

from ._errors import Cancelled, UnpicklableResult, WorkerCrashed

__all__ = ["Cancelled", "UnpicklableResult", "WorkerCrashed"]
