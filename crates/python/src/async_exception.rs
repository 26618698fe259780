//! Raising an exception in another Python thread, and making sure that it arrives nowhere else.
//!
//! CPython keeps one such exception per thread and raises it at the thread's next bytecode. It
//! cannot be taken back by setting none: before 3.13 that leaves the interpreter's flag for it set
//! for good, so that every loop and call looks for an exception that never comes (a loop takes
//! 1.6 times as long on 3.12, and never ends under a trace function on 3.11). So the thread it was
//! meant for receives it where it does no harm.

use std::ffi::c_ulong;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::call::call;

/// Raises `class` in the thread that CPython knows by the number `thread`.
///
/// The caller holds the mutex under which that thread tells that it is no longer meant.
pub fn raise_in(thread: c_ulong, class: &Bound<'_, PyType>) {
    // SAFETY: attached, and the class outlives the call, which counts its own reference.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread as _, class.as_ptr()) };
}

/// A Python function that does nothing: to enter one is what delivers the exception.
static NOTHING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// When the module is made. Later it would be too late: what is meant to arrive in the function
/// would arrive in what makes it, and a thread that the interpreter does not wait for may run
/// Python by [`call`] only.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    NOTHING.get_or_try_init(py, || {
        py.eval(c"lambda: None", Some(&PyDict::new(py)), None).map(Bound::unbind)
    })?;
    Ok(())
}

/// Raises in the calling thread what was raised in it and has not arrived.
///
/// # Errors
/// That exception.
pub fn receive(py: Python<'_>) -> PyResult<()> {
    let nothing = NOTHING.get(py).expect("it is made with the module");
    call(nothing.bind(py), &PyTuple::empty(py), None).map(drop)
}

/// Receives what was raised in the calling thread, and forgets it. Runs Python: not to be called
/// under a mutex, and only after nobody can raise anything here any more.
#[cold]
pub fn absorb(py: Python<'_>) {
    drop(receive(py));
}
