//! What Rust uses of Python code: the one place that names a Python module.
//!
//! A [`Hook`] is looked up when it is first needed, so that a program pays for no import which it
//! does not use, and kept. What a program may replace while it runs (`sys.stderr`) is looked up
//! anew each time.
//!
//! [`check_contract`] looks everything up and tells what is missing: tested on every Python.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// An attribute of a Python module.
pub struct Hook {
    module: &'static str,
    attribute: &'static str,
    found: PyOnceLock<Py<PyAny>>,
}

impl Hook {
    const fn new(module: &'static str, attribute: &'static str) -> Self {
        Self { module, attribute, found: PyOnceLock::new() }
    }

    /// The object, looked up at the first call.
    pub fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        self.found.get_or_try_init(py, || self.now(py).map(Bound::unbind)).map(|it| it.bind(py))
    }

    /// The object, which is a class.
    pub fn class<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyType>> {
        Ok(self.get(py)?.cast::<PyType>()?)
    }

    /// What has the name now.
    pub fn now<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import(self.module)?.getattr(self.attribute)
    }
}

macro_rules! hooks {
    ($($(#[$doc:meta])* $name:ident = $module:literal, $attribute:literal;)*) => {
        $($(#[$doc])* pub static $name: Hook = Hook::new($module, $attribute);)*
        static ALL: &[&Hook] = &[$(&$name),*];
    };
}

// Errors that we raise, and those that we look for.
hooks! {
    /// What `result()` of a cancelled future raises.
    CANCELLED_ERROR = "concurrent.futures", "CancelledError";
    /// What a second `set_result` raises.
    INVALID_STATE_ERROR = "concurrent.futures", "InvalidStateError";
    /// What `submit` raises after an initializer failed.
    BROKEN_THREAD_POOL = "concurrent.futures.thread", "BrokenThreadPool";
    /// What tasks of a pool that cannot go on raise.
    BROKEN_PROCESS_POOL = "concurrent.futures.process", "BrokenProcessPool";
    /// What is raised inside a running task that is being stopped.
    CANCELLED = "manyhands._errors.tasks", "Cancelled";
    /// What a task raises whose arguments or result cannot be unpickled.
    UNPICKLABLE_RESULT = "manyhands._errors.pools", "UnpicklableResult";
    /// What a task raises whose worker died.
    WORKER_CRASHED = "manyhands._errors.pools", "WorkerCrashed";
    /// What a wait that could never end raises.
    DEADLOCK_ERROR = "manyhands._threads.deadlock", "DeadlockError";
    /// What `Barrier.wait` raises when it is broken.
    BROKEN_BARRIER_ERROR = "threading", "BrokenBarrierError";
    /// What `get` of an empty queue raises.
    QUEUE_EMPTY = "queue", "Empty";
    /// What `put` into a full queue raises.
    QUEUE_FULL = "queue", "Full";
    /// What a queue that was shut down raises.
    QUEUE_SHUT_DOWN = "manyhands._errors.queues", "ShutDown";
    /// What opening a shared object raises where that cannot be.
    HANDLE_ERROR = "manyhands._errors.shared_objects", "HandleError";
    /// What a write that would lose another's update raises.
    LOST_UPDATE_ERROR = "manyhands._errors.lost_updates", "LostUpdateError";
    /// What `recv_bytes_into` raises when the buffer has no room for the message.
    BUFFER_TOO_SHORT = "multiprocessing", "BufferTooShort";
    /// What `result()` raises when time is over.
    TIMEOUT_ERROR = "builtins", "TimeoutError";

    // What travels between processes.

    /// `(object, buffers) -> bytes`: a message to a queue or a connection.
    DUMPS_MESSAGE = "manyhands._pickling.codec", "dumps_message";
    /// `(args, kwargs, buffers) -> bytes`.
    DUMPS_CALL = "manyhands._pickling.codec", "dumps_call";
    /// `(items, buffers) -> bytes`.
    DUMPS_CHUNK = "manyhands._pickling.codec", "dumps_chunk";
    /// `(whole, buffers) -> bytes`: a call together with its function.
    DUMPS_WHOLE_CALL = "manyhands._pickling.codec", "dumps_whole_call";
    /// `(function, items) -> results`.
    RUN_CHUNK = "manyhands._pickling.codec", "run_chunk";
    /// `(function, items) -> results`, each item being the arguments.
    RUN_STARRED_CHUNK = "manyhands._pickling.codec", "run_starred_chunk";
    /// `(function) -> bool`: whether it may be sent once for all tasks.
    IS_CACHEABLE = "manyhands._pickling.codec", "is_cacheable";
    /// `(function) -> (bytes, guard or None)`.
    DUMPS_FUNCTION = "manyhands._pickling.codec", "dumps_function";
    /// `(bytes) -> object`.
    LOADS = "manyhands._pickling.codec", "loads";
    /// `(result, buffers) -> bytes`.
    DUMPS_RESULT = "manyhands._pickling.codec", "dumps_result";
    /// `(exception) -> bytes`.
    DUMPS_EXCEPTION = "manyhands._pickling.codec", "dumps_exception";
    /// `(bytes) -> exception`.
    LOADS_EXCEPTION = "manyhands._pickling.codec", "loads_exception";
    /// `(object) -> bytes`, as `Connection.send` of the standard library takes it.
    CONNECTION_DUMPS = "manyhands._mp.connection_pickling", "dumps";
    /// `(object) -> bytes` that plain `pickle` loads.
    CONNECTION_PICKLE = "manyhands._mp.connection_pickling", "pickle";
    /// `(bytes) -> object`.
    CONNECTION_LOADS = "manyhands._mp.connection_pickling", "loads";
    /// What was registered with `multiprocessing.reduction`: a dictionary.
    CONNECTION_REDUCERS = "manyhands._mp.connection_pickling", "reducers";
    /// `() -> bool`: whether there are reducers that the plain pickler does not know.
    HAS_OTHER_REDUCERS = "manyhands._mp.connection_pickling", "has_other_reducers";
    /// The interpreter's own pickler, without the module in Python around it.
    PLAIN_DUMPS = "_pickle", "dumps";
    /// The interpreter's own unpickler.
    PLAIN_LOADS = "_pickle", "loads";

    // What Python code does for pools, queues and locks.

    /// Importing its module sets the future class: see [`crate::startup::set_future_class`].
    FUTURE = "manyhands._futures.future", "Future";
    /// `(future, callback)`: notes that asyncio waits for a future.
    NOTE_CHAINED = "manyhands._futures.chained", "note";
    /// `(work, name, stack_size, threads)`: starts a thread of a pool.
    START_WORKER_THREAD = "manyhands._worker.interpreter_exit", "start_worker_thread";
    /// `(name, threads)`: nobody waits for the thread any more.
    FORGET_THREAD = "manyhands._worker.interpreter_exit", "forget_thread";
    /// `()`: writes out what a worker has printed.
    FLUSH_STREAMS = "manyhands._worker.parent_state", "flush_streams";
    /// `(text)`: prints a report on a deadlock.
    PRINT_REPORT = "manyhands._threads.deadlock", "print_report";
    /// `() -> {thread id: name}`.
    THREAD_NAMES = "manyhands._threads.deadlock", "thread_names";
    /// `() -> bool`: whether the program has signal handlers of its own.
    HANDLES_SIGNALS = "manyhands._threads.deadlock", "handles_signals";
    /// `() -> (name of the process, name of the thread)`.
    PROCESS_AND_THREAD_NAMES = "manyhands._mp.sharing.synchronize", "process_and_thread_names";
    /// `(policy, pid, what)`: warns of, or raises, the death of a lock's owner.
    TELL_OWNER_DIED = "manyhands._mp.sharing.owner_died", "tell";

    // What a queue of `manyhands.queue` does once Python code works on its parts.

    /// `(queue, item, block, timeout)`.
    QUEUE_PUT = "manyhands._queues.thread_queue_hooks", "put";
    /// `(queue, block, timeout) -> item`.
    QUEUE_GET = "manyhands._queues.thread_queue_hooks", "get";
    /// `(queue, most, timeout) -> items`.
    QUEUE_GET_MANY = "manyhands._queues.thread_queue_hooks", "get_many";
    /// `(queue)`: an item was worked on.
    QUEUE_TASK_DONE = "manyhands._queues.thread_queue_hooks", "task_done";
    /// `(queue)`: waits until every item was worked on.
    QUEUE_JOIN = "manyhands._queues.thread_queue_hooks", "join";
    /// `(queue, is_immediate)`.
    QUEUE_SHUTDOWN = "manyhands._queues.thread_queue_hooks", "shutdown";
    /// `(queue) -> number of items`.
    QUEUE_QSIZE = "manyhands._queues.thread_queue_hooks", "qsize";
    /// `(queue) -> bool`.
    QUEUE_EMPTY_NOW = "manyhands._queues.thread_queue_hooks", "empty";
    /// `(queue) -> bool`.
    QUEUE_FULL_NOW = "manyhands._queues.thread_queue_hooks", "full";
    /// `(queue) -> dict of numbers`.
    QUEUE_STATISTICS = "manyhands._queues.thread_queue_hooks", "statistics";

    // The standard library.

    /// The logger of exceptions that nobody can catch.
    FUTURES_LOGGER = "concurrent.futures._base", "LOGGER";
    /// `(list, item)`.
    HEAP_PUSH = "heapq", "heappush";
    /// `(list) -> item`.
    HEAP_POP = "heapq", "heappop";
    /// `(function, items) -> iterator`, each item being the arguments.
    STARMAP = "itertools", "starmap";
    /// `(function, items) -> iterator`.
    MAP = "builtins", "map";
    /// The names that every module has.
    BUILTINS = "builtins", "__dict__";
    /// `(signal number) -> handler`, past the module in Python that replaces it.
    GET_SIGNAL = "_signal", "getsignal";
    /// `(signal number, handler)`.
    SET_SIGNAL = "_signal", "signal";
    /// The environment variables.
    ENVIRON = "os", "environ";
    /// `(before=, after_in_parent=, after_in_child=)`.
    REGISTER_AT_FORK = "os", "register_at_fork";
    /// The stream for messages, which programs replace.
    STDERR = "sys", "stderr";
    /// The class that threads of ours are made with, whichever that is now.
    THREAD = "threading", "Thread";
    /// `(text, category, stack level)`.
    WARN = "warnings", "warn";
    /// Where the package lies.
    PACKAGE_FILE = "manyhands", "__file__";
}

/// Whether the interpreter runs with a GIL.
pub fn has_gil(py: Python<'_>) -> bool {
    let ask = || py.import("sys")?.call_method0("_is_gil_enabled")?.is_truthy();
    // Versions that cannot be asked always have one.
    ask().unwrap_or(true)
}

/// Looks up all that Rust uses of Python code; sentences about what is not there.
#[pyfunction]
pub fn check_contract(py: Python<'_>) -> Vec<String> {
    let missing = |hook: &&Hook| {
        let error = hook.now(py).err()?;
        Some(format!("{}.{} is used by the compiled part: {error}", hook.module, hook.attribute))
    };
    ALL.iter().filter_map(missing).collect()
}
