"""Contexts: the factories of `multiprocessing`, each bound to one start method.

Mirrors `multiprocessing.context`; see `manyhands._mp.context`.
"""

from multiprocessing.context import (
    AuthenticationError,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)

from manyhands._mp.context import (
    BaseContext,
    DefaultContext,
    Factories,
    ForkContext,
    ForkProcess,
    ForkServerContext,
    ForkServerProcess,
    Process,
    SpawnContext,
    SpawnProcess,
    TemplateContext,
    TemplateProcess,
    _concrete_contexts,
    _default_context,
    _force_start_method,
)

__all__ = [
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "DefaultContext",
    "Factories",
    "ForkContext",
    "ForkProcess",
    "ForkServerContext",
    "ForkServerProcess",
    "Process",
    "ProcessError",
    "SpawnContext",
    "SpawnProcess",
    "TemplateContext",
    "TemplateProcess",
    "TimeoutError",
    "_concrete_contexts",
    "_default_context",
    "_force_start_method",
    "assert_spawning",
    "get_spawning_popen",
    "set_spawning_popen",
]
