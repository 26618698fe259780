//! Who is told of the end of a future: done-callbacks, and waiters of the standard module.
//!
//! Guarantees: an exception of one is logged, as the standard does, and concerns no other.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::call::call;
use crate::errors;

/// Who is told of the end of a future.
pub enum Observer {
    /// A callback of `add_done_callback`.
    Callback(Py<PyAny>),
    /// A waiter of the standard `concurrent.futures.wait` and `as_completed`.
    Waiter(Py<PyAny>),
}

impl Observer {
    /// Calls it; `waiter_method` names what a waiter is told of.
    ///
    /// # Errors
    /// What it raised, if that is no `Exception`: KeyboardInterrupt, SystemExit.
    pub fn run(
        self,
        future: &Bound<'_, PyAny>,
        waiter_method: impl FnOnce() -> &'static str,
    ) -> PyResult<()> {
        let py = future.py();
        let outcome = match &self {
            Self::Callback(callback) => {
                PyTuple::new(py, [future]).and_then(|args| call(callback.bind(py), &args, None))
            }
            Self::Waiter(waiter) => waiter.bind(py).getattr(waiter_method()).and_then(|method| {
                PyTuple::new(py, [future]).and_then(|args| call(&method, &args, None))
            }),
        };
        let Err(error) = outcome else { return Ok(()) };
        if !error.is_instance_of::<PyException>(py) {
            return Err(error);
        }
        errors::log_exception(
            py,
            "error",
            "exception calling callback for %r",
            Some(future),
            &error,
        );
        Ok(())
    }
}
