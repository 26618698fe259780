//! Whether the task of the calling thread is being stopped: for waits that bytecode-bound delivery
//! of an exception does not reach.

use pyo3::prelude::*;

use crate::async_exception;
use crate::errors;

pub use manyhands_pool::threads::is_worker;

unsafe extern "C" {
    /// The number by which `PyThreadState_SetAsyncExc` knows this thread.
    #[link_name = "PyThread_get_thread_ident"]
    pub fn get_thread_ident() -> std::ffi::c_ulong;
}

/// Raises, in a worker, the exception with which its task is being stopped.
///
/// # Errors
/// That exception.
pub fn check_stopped(py: Python<'_>) -> PyResult<()> {
    if !manyhands_pool::threads::take_interrupt() {
        return Ok(());
    }
    // What it is stopped with is raised here instead.
    async_exception::absorb(py);
    Err(errors::error_of(errors::cancelled(py), "the task was stopped"))
}
