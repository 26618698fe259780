//! The lock of a shared value or array, as its own methods use it.
//!
//! Each access takes the lock, as the standard classes do: nobody sees or changes a value between
//! the steps of a block that holds it. Who has it already pays a look at its word.

use manyhands_shm::cell::Memory;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::lost_update;
use crate::call::call;

/// A lock, and how it is taken.
pub struct Guard {
    lock: Py<PyAny>,
    acquire: Py<PyAny>,
    release: Py<PyAny>,
    /// Says whether the caller has it; None: the lock cannot be asked.
    is_mine: Option<Py<PyAny>>,
}

/// The lock is held until this goes.
pub struct Entered<'a, 'py> {
    guard: &'a Guard,
    py: Python<'py>,
}

impl Guard {
    /// # Errors
    /// AttributeError if `lock` cannot be acquired or released.
    pub fn new(lock: &Bound<'_, PyAny>) -> PyResult<Self> {
        let is_mine = match lock.getattr_opt("_is_owned")? {
            Some(is_owned) => Some(is_owned),
            // The standard library's locks between processes.
            None => match lock.getattr_opt("_semlock")? {
                Some(semaphore) => semaphore.getattr_opt("_is_mine")?,
                None => None,
            },
        };
        Ok(Self {
            acquire: lock.getattr("acquire")?.unbind(),
            release: lock.getattr("release")?.unbind(),
            is_mine: is_mine.map(Bound::unbind),
            lock: lock.clone().unbind(),
        })
    }

    pub fn lock<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.lock.bind(py).clone()
    }

    /// Whether the calling thread holds the lock; true if that cannot be known, so that nothing is
    /// held against it.
    pub fn is_mine(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(is_mine) = &self.is_mine else { return Ok(true) };
        call(is_mine.bind(py), &PyTuple::empty(py), None)?.is_truthy()
    }

    /// As [`Guard::is_mine`], where anybody wants to know.
    pub fn is_mine_if_watched(&self, py: Python<'_>, memory: &Memory) -> PyResult<bool> {
        if lost_update::is_on(memory) { self.is_mine(py) } else { Ok(true) }
    }

    /// Takes the lock.
    #[inline]
    pub fn enter<'py>(&self, py: Python<'py>) -> PyResult<Entered<'_, 'py>> {
        call(self.acquire.bind(py), &PyTuple::empty(py), None)?;
        Ok(Entered { guard: self, py })
    }

    pub fn acquire<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        call(self.acquire.bind(args.py()), args, kwargs)
    }

    pub fn release(&self, py: Python<'_>) -> PyResult<()> {
        call(self.release.bind(py), &PyTuple::empty(py), None).map(drop)
    }
}

impl Drop for Entered<'_, '_> {
    fn drop(&mut self) {
        if let Err(error) = self.guard.release(self.py) {
            error.write_unraisable(self.py, None);
        }
    }
}
