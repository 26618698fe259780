//! `manyhands.threading.RwLock`: many readers or one writer.

use std::sync::OnceLock;

use manyhands_sync::deadlock::{Certainty, Description, EndedBy, Resource};
use manyhands_sync::rwlock::{Access, RawRwLock};
use manyhands_sys::futex::Private;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::blocking::{acquire_deadline, block};
use super::site::Acquired;

/// Many readers or one writer.
#[pyclass(module = "manyhands.threading", frozen, subclass, weakref, dict)]
pub struct RwLock {
    raw: RawRwLock<Private>,
    /// Where the writer took it.
    acquired: Acquired,
    name: OnceLock<String>,
}

/// What `read()` and `write()` return: a context manager that may be used again and again.
#[pyclass(module = "manyhands.threading", frozen, name = "_Access")]
pub struct AccessTo {
    lock: Py<RwLock>,
    access: Access,
}

impl RwLock {
    fn acquire(
        &self,
        py: Python<'_>,
        access: Access,
        blocking: bool,
        timeout: Option<f64>,
    ) -> PyResult<bool> {
        let deadline = acquire_deadline(blocking, timeout)?;
        let mut taken = self.raw.try_acquire(access).map_err(super::overflow)?;
        if let (false, Some(deadline)) = (taken, deadline) {
            let suspicious = self.raw.writer() == manyhands_sys::thread_id::me();
            taken = block(py, self, deadline, suspicious, |deadline, waiting| {
                self.raw.acquire_slow(access, deadline, waiting)
            })?;
        }
        if taken && access == Access::Write {
            self.acquired.note(py);
        }
        Ok(taken)
    }

    fn release(&self, access: Access) -> PyResult<()> {
        self.raw.release(access).map_err(|_| {
            PyRuntimeError::new_err(match access {
                Access::Read => "cannot release a lock that nobody reads under",
                Access::Write => "cannot release a lock that this thread does not write under",
            })
        })
    }
}

#[pymethods]
impl RwLock {
    /// A subclass may have any arguments of its own, so the real ones come with `__init__`.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(*, name=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { raw: RawRwLock::new(), acquired: Acquired::new(), name: OnceLock::new() }
    }

    #[pyo3(signature = (*, name=None))]
    fn __init__(&self, name: Option<String>) {
        if let Some(name) = name {
            let _ = self.name.set(name);
        }
    }

    /// `with lock.read():` lets other readers in, no writer.
    fn read(slf: Bound<'_, Self>) -> AccessTo {
        AccessTo { lock: slf.unbind(), access: Access::Read }
    }

    /// `with lock.write():` lets nobody else in.
    fn write(slf: Bound<'_, Self>) -> AccessTo {
        AccessTo { lock: slf.unbind(), access: Access::Write }
    }

    #[pyo3(signature = (blocking=true, timeout=None))]
    fn acquire_read(&self, py: Python<'_>, blocking: bool, timeout: Option<f64>) -> PyResult<bool> {
        self.acquire(py, Access::Read, blocking, timeout)
    }

    #[pyo3(signature = (blocking=true, timeout=None))]
    fn acquire_write(
        &self,
        py: Python<'_>,
        blocking: bool,
        timeout: Option<f64>,
    ) -> PyResult<bool> {
        self.acquire(py, Access::Write, blocking, timeout)
    }

    fn release_read(&self) -> PyResult<()> {
        self.release(Access::Read)
    }

    fn release_write(&self) -> PyResult<()> {
        self.release(Access::Write)
    }

    /// Whether anybody is inside.
    fn locked(&self) -> bool {
        self.raw.n_readers() > 0 || self.raw.writer() != 0
    }

    /// How many read now.
    #[getter]
    fn readers(&self) -> u32 {
        self.raw.n_readers()
    }

    /// The name given at construction.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.get().map(String::as_str)
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        super::statistics(py, self.raw.counters.read())
    }

    fn _at_fork_reinit(&self) {
        self.raw.reset();
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(super::refuse_pickling(slf))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let lock = slf.get();
        let state = match (lock.raw.n_readers(), lock.raw.writer()) {
            (0, 0) => "unlocked".to_owned(),
            (0, writer) => format!("writing in thread {writer}"),
            (1, _) => "1 reader".to_owned(),
            (n, _) => format!("{n} readers"),
        };
        super::repr(slf, lock.name(), &state)
    }
}

#[pymethods]
impl AccessTo {
    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.lock.get().acquire(py, self.access, true, None)
    }

    #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None))]
    fn __exit__(
        &self,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc_value, traceback);
        self.lock.get().release(self.access)
    }
}

impl Resource for RwLock {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "RwLock", name: self.name.get().cloned(), id }
    }

    fn ended_by(&self) -> EndedBy {
        match (self.raw.writer(), self.raw.n_readers()) {
            (0, 0) => EndedBy::Nobody,
            (0, _) => EndedBy::Anyone,
            (thread, _) => EndedBy::Owner {
                thread,
                certainty: Certainty::Sure,
                acquired_at: self.acquired.site(),
            },
        }
    }
}
