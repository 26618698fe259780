//! The exception classes the binding raises, looked up once.
//!
//! The standard classes come from the standard modules; manyhands' own are Python classes of
//! `manyhands/_errors`, so that they can derive from both a standard class and carry attributes.

use std::io;

use crate::call::call;
use crate::contract;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyType;

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident => $hook:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
            contract::$hook.class(py)
        }
    )*};
}

classes! {
    /// What `result()` of a cancelled future raises.
    cancelled_error => CANCELLED_ERROR;
    /// What a second `set_result` raises.
    invalid_state_error => INVALID_STATE_ERROR;
    /// What `submit` raises after an initializer failed.
    broken_thread_pool => BROKEN_THREAD_POOL;
    /// What is raised inside a running task that is being stopped.
    cancelled => CANCELLED;
    /// What a wait that could never end raises.
    deadlock_error => DEADLOCK_ERROR;
    /// What `Barrier.wait` raises when it is broken.
    broken_barrier_error => BROKEN_BARRIER_ERROR;
    /// What `get` of an empty queue raises.
    queue_empty => QUEUE_EMPTY;
    /// What `put` into a full queue raises.
    queue_full => QUEUE_FULL;
    /// What a queue that was shut down raises.
    queue_shut_down => QUEUE_SHUT_DOWN;
    /// What opening a shared object raises where that cannot be.
    handle_error => HANDLE_ERROR;
    /// What a write that would lose another's update raises.
    lost_update_error => LOST_UPDATE_ERROR;
    /// What `recv_bytes_into` raises when the buffer has no room for the message.
    buffer_too_short => BUFFER_TOO_SHORT;
    /// What `result()` raises when time is over.
    timeout_error => TIMEOUT_ERROR;
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
        let logger = contract::FUTURES_LOGGER.get(py)?;
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
