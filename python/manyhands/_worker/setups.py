"""What a worker or a process is told by its parent before it runs anything of the program.

Guarantees: each of these is a tuple with names that pickle carries; what a field means stands here
and nowhere else.
"""

from typing import Any, NamedTuple


class LoggingState(NamedTuple):
    """How the parent logs. Handlers stay with it."""

    root_level: int
    #: By name: level, whether it is disabled, whether it propagates.
    loggers: dict[str, tuple[int, bool, bool]]
    disable: int
    level_names: dict[int, str]
    #: Whether warnings are logged.
    capture_warnings: bool


class ParentState(NamedTuple):
    """What of the parent a worker takes over."""

    pid: int
    process_name: str
    #: None: the parent has none that is its own.
    authkey: bytes | None
    #: The one that the parent chose with the standard package.
    start_method: str | None
    sys_path: list[str]
    sys_argv: list[str]
    environ: dict[str, str]
    recursion_limit: int
    dont_write_bytecode: bool
    main_file: str | None
    main_package: str | None
    #: None: the parent has not imported `logging`.
    logging: LoggingState | None
    warning_filters: list[Any]
    #: Whether `sys.stdout` is what the interpreter started with.
    stdout_is_own: bool
    stderr_is_own: bool
    #: Whether `manyhands.install()` was called.
    installed: bool


class WorkerSetup(NamedTuple):
    """What each worker of a pool is told."""

    parent: ParentState
    #: Workers are called so, with a number behind it.
    process_name: str = "ProcessPoolWorker"
    first_number: int = 1
    #: Whether it is a worker of `multiprocessing.Pool`.
    is_pool: bool = False
    #: A pickle of the initializer and its arguments; empty: the worker has inherited them.
    initializer: bytes = b""


class ProcessSetup(NamedTuple):
    """What a process of `multiprocessing` is told."""

    parent: ParentState
    name: str
    authkey: bytes
    #: Where to find the main module, see `manyhands._mp.main_module`.
    main: Any
    start_method: str
    #: Which of its descriptors leads to the parent's resource tracker.
    tracker_fd: int | None
    log_to_stderr: bool
    log_level: int | None
    #: The queue for what it returns.
    carrier: Any
    #: A pickle of the process object.
    process: bytes
