"""The class of processes, started by the standard library for the moment."""

from __future__ import annotations

from multiprocessing import context as _standard_context
from multiprocessing import process as _standard_process
from typing import Any

_standard: Any = _standard_process


class BaseProcess(_standard.BaseProcess):  # type: ignore[misc]
    """A child process."""

    _method = "template"
    _start_method = None

    @classmethod
    def _Popen(cls, process_obj: Any) -> Any:
        contexts: Any = _standard_context
        method = "forkserver" if process_obj._method == "template" else process_obj._method
        return contexts._concrete_contexts[method].Process._Popen(process_obj)
