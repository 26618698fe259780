//! References to shared objects that a pickle made by Python code holds.
//!
//! An object that is pickled for a process that is being started must live until that process has
//! opened it, and no longer because of that: the other end of a pipe waits for the last one to
//! close it. Without this its maker would keep it to its own end.
//!
//! Whoever pickles leaves the references to the pickle, as a list of handles; whoever unpickles
//! takes them over first, and releases them afterwards.

use std::sync::{Mutex, PoisonError};

use manyhands_shm::{Carried, Handle, family};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::fork::Generation;

/// What was pickled during a call, kept alive until released.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct References {
    carried: Mutex<Option<Carried>>,
    generation: Generation,
    /// Whether the pickle names any.
    #[pyo3(get)]
    named: bool,
}

#[pymethods]
impl References {
    /// Takes over what was left with a list of handles.
    #[staticmethod]
    fn take_over(handles: &[u8]) -> PyResult<Self> {
        let (list, []) = handles.as_chunks::<{ Handle::LEN }>() else {
            return Err(PyValueError::new_err("that is no list of handles"));
        };
        let handles: Vec<Handle> =
            list.iter().filter_map(|bytes| Handle::from_bytes(bytes).ok()).collect();
        let carried = match family::existing() {
            // SAFETY: the list comes from `leave`, through the launch record of one process.
            Some(heap) => unsafe { Carried::from_message(&heap, &handles) },
            None => Carried::default(),
        };
        Ok(Self::of(carried))
    }

    /// Leaves the references to whoever takes them over: a list of handles.
    fn leave<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let carried = self.take().unwrap_or_default();
        let list: Vec<u8> = carried.handles().iter().flat_map(|each| each.to_bytes()).collect();
        carried.leave_to_message();
        PyBytes::new(py, &list)
    }

    /// Lets the objects go. Called again, does nothing.
    fn release(&self, py: Python<'_>) {
        let carried = self.take();
        py.detach(|| self.drop_or_forget(carried));
    }
}

impl References {
    fn of(carried: Carried) -> Self {
        let named = !carried.handles().is_empty();
        Self { carried: Mutex::new(Some(carried)), generation: Generation::current(), named }
    }

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
    Ok((result?, References::of(carried)))
}
