//! References to shared objects that a pickle made by Python code holds.
//!
//! An object that is pickled for a process that is being started must live until that process has
//! opened it, and no longer because of that. Without this its maker would keep it to its own end.

use std::sync::{Mutex, PoisonError};

use manyhands_shm::Carried;
use pyo3::prelude::*;

use crate::fork::Generation;

/// What was pickled during a call, kept alive until released.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct References {
    carried: Mutex<Option<Carried>>,
    generation: Generation,
}

#[pymethods]
impl References {
    /// Lets the objects go. Called again, does nothing.
    fn release(&self, py: Python<'_>) {
        let carried = self.take();
        py.detach(|| self.drop_or_forget(carried));
    }
}

impl References {
    fn take(&self) -> Option<Carried> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// In a forked copy they are the copy's for as long as it lives: nobody counts them here.
    fn drop_or_forget(&self, carried: Option<Carried>) {
        if !self.generation.is_current() {
            std::mem::forget(carried);
        }
    }
}

impl Drop for References {
    fn drop(&mut self) {
        let carried = self.take();
        self.drop_or_forget(carried);
    }
}

/// Calls `pickle` in this thread; what it returned, and the references to every shared object that
/// was pickled meanwhile.
///
/// # Errors
/// What `pickle` raises.
#[pyfunction]
pub fn collect_references<'py>(
    pickle: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, References)> {
    let (result, carried) = Carried::collect(|| pickle.call0());
    let generation = Generation::current();
    Ok((result?, References { carried: Mutex::new(Some(carried)), generation }))
}
