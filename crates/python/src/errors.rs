//! The exception classes the binding raises, looked up once.
//!
//! The standard classes come from the standard modules; manyhands' own are Python classes of
//! `manyhands._errors`, so that they can derive from both a standard class and carry attributes.

use std::io;

use crate::call::call;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident => $module:literal, $attribute:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            CLASS.import(py, $module, $attribute)
        }
    )*};
}

classes! {
    /// What `result()` of a cancelled future raises.
    cancelled_error => "concurrent.futures", "CancelledError";
    /// What a second `set_result` raises.
    invalid_state_error => "concurrent.futures", "InvalidStateError";
    /// What `submit` raises after an initializer failed.
    broken_thread_pool => "concurrent.futures.thread", "BrokenThreadPool";
    /// What is raised inside a running task that is being stopped.
    cancelled => "manyhands._errors", "Cancelled";
    /// What a wait that could never end raises.
    deadlock_error => "manyhands._deadlock", "DeadlockError";
    /// What `Barrier.wait` raises when it is broken.
    broken_barrier_error => "threading", "BrokenBarrierError";
    /// What `get` of an empty queue raises.
    queue_empty => "queue", "Empty";
    /// What `put` into a full queue raises.
    queue_full => "queue", "Full";
    /// What a queue that was shut down raises.
    queue_shut_down => "manyhands._queue_errors", "ShutDown";
    /// What opening a shared object raises where that cannot be.
    handle_error => "manyhands._shared_errors", "HandleError";
    /// What a write that would lose another's update raises.
    lost_update_error => "manyhands._lost_updates", "LostUpdateError";
    /// What `recv_bytes_into` raises when the buffer has no room for the message.
    buffer_too_short => "multiprocessing", "BufferTooShort";
    /// What `result()` raises when time is over.
    timeout_error => "builtins", "TimeoutError";
}

/// An instance of one of the classes above, with a sentence.
pub fn error_of(class: PyResult<&Bound<'_, PyType>>, sentence: impl Into<String>) -> PyErr {
    match class {
        Ok(class) => PyErr::from_type(class.clone(), (sentence.into(),)),
        Err(error) => error,
    }
}

/// The error as the standard library raises it: with its number, so that it has the class that
/// goes with that, such as ProcessLookupError.
pub fn os_error(error: io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(number) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            PyOSError::new_err((number, text))
        }
        None => error.into(),
    }
}

/// Gives an exception that nobody can catch to the `concurrent.futures` logger, as the standard
/// module does. A logger that fails itself is passed to `sys.unraisablehook`.
pub fn log_exception(
    py: Python<'_>,
    level: &str,
    message: &str,
    about: Option<&Bound<'_, PyAny>>,
    error: &PyErr,
) {
    let log = || -> PyResult<()> {
        static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let logger = LOGGER.import(py, "concurrent.futures._base", "LOGGER")?;
        let keywords = pyo3::types::PyDict::new(py);
        keywords.set_item("exc_info", error.value(py))?;
        let args = match about {
            Some(about) => (message, about).into_pyobject(py)?,
            None => (message,).into_pyobject(py)?,
        };
        call(&logger.getattr(level)?, &args, Some(&keywords))?;
        Ok(())
    };
    if let Err(failure) = log() {
        failure.write_unraisable(py, None);
    }
}
