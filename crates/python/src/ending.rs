//! The end of the interpreter, as executors of any kind see it: no task is taken any more.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Set when the interpreter ends.
static IS_INTERPRETER_ENDING: AtomicBool = AtomicBool::new(false);

/// From now on every `submit` is refused: the interpreter ends.
#[pyfunction]
pub fn refuse_new_tasks() {
    IS_INTERPRETER_ENDING.store(true, Ordering::Release);
}

/// Whether [`refuse_new_tasks`] was called.
pub fn is_interpreter_ending() -> bool {
    IS_INTERPRETER_ENDING.load(Ordering::Acquire)
}

/// The refusal of a closed executor.
pub fn closed_error() -> PyErr {
    PyRuntimeError::new_err(if is_interpreter_ending() {
        "cannot schedule new futures after interpreter shutdown"
    } else {
        "cannot schedule new futures after shutdown"
    })
}
