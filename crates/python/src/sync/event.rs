//! `manyhands.threading.Event`.

use std::sync::OnceLock;

use manyhands_sync::deadlock::{Description, EndedBy, Resource};
use manyhands_sync::event::RawEvent;
use manyhands_sys::futex::Private;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::blocking::block;
use crate::interrupt::deadline_of;

/// A flag to wait for.
#[pyclass(module = "manyhands.threading", frozen, subclass, weakref, dict)]
pub struct Event {
    raw: RawEvent<Private>,
    name: OnceLock<String>,
}

#[pymethods]
impl Event {
    /// A subclass may have any arguments of its own, so the real ones come with `__init__`.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(*, name=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { raw: RawEvent::new(), name: OnceLock::new() }
    }

    #[pyo3(signature = (*, name=None))]
    fn __init__(&self, name: Option<String>) {
        if let Some(name) = name {
            let _ = self.name.set(name);
        }
    }

    fn is_set(&self) -> bool {
        self.raw.is_set()
    }

    /// The old name of `is_set`, deprecated as in the standard class.
    #[pyo3(name = "isSet")]
    fn is_set_old(&self, py: Python<'_>) -> PyResult<bool> {
        super::warn_of_old_name(py, "isSet", "is_set")?;
        Ok(self.is_set())
    }

    fn set(&self) {
        self.raw.set();
    }

    fn clear(&self) {
        self.raw.clear();
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let generation = self.raw.generation();
        if self.raw.is_set() {
            return Ok(true);
        }
        let deadline = deadline_of(timeout)?;
        block(py, self, deadline, false, |deadline, waiting| {
            self.raw.wait(generation, deadline, waiting)
        })
    }

    /// The name given at construction.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.get().map(String::as_str)
    }

    fn _at_fork_reinit(&self) {}

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(super::refuse_pickling(slf))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let event = slf.get();
        super::repr(slf, event.name(), if event.is_set() { "set" } else { "unset" })
    }
}

impl Resource for Event {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Event", name: self.name.get().cloned(), id }
    }

    fn ended_by(&self) -> EndedBy {
        if self.raw.is_set() { EndedBy::Nobody } else { EndedBy::Anyone }
    }
}
