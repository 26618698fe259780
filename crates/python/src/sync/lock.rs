//! `manyhands.threading.Lock`.

use manyhands_sync::deadlock::{Description, EndedBy, Resource};
use manyhands_sync::lock::{Hold, RawLock};
use manyhands_sync::sleep::Waiting;
use manyhands_sys::futex::Private;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::blocking::{acquire_deadline, block};
use super::site::Acquired;

/// A mutual exclusion lock.
#[pyclass(module = "manyhands.threading", frozen, weakref)]
pub struct Lock {
    raw: RawLock<Private>,
    acquired: Acquired,
    name: Option<String>,
}

impl Lock {
    #[inline]
    pub fn try_lock(&self, py: Python<'_>, hold: Hold) -> bool {
        let taken = self.raw.try_lock(hold);
        if taken {
            self.acquired.note(py);
        }
        taken
    }

    /// Takes the lock, waiting until `deadline`.
    #[cold]
    pub fn lock_slow(
        &self,
        py: Python<'_>,
        hold: Hold,
        deadline: Option<manyhands_sys::clock::Deadline>,
    ) -> PyResult<bool> {
        let suspicious = self.raw.is_mine();
        let step =
            |deadline, waiting: &mut Waiting<'_>| self.raw.lock_slow(hold, deadline, waiting);
        let taken = block(py, self, deadline, suspicious, step)?;
        if taken {
            self.acquired.note(py);
        }
        Ok(taken)
    }

    /// Releases the lock.
    #[inline]
    pub fn unlock(&self) -> PyResult<()> {
        self.raw.unlock().map_err(|_| PyRuntimeError::new_err("release unlocked lock"))
    }

    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }
}

#[pymethods]
impl Lock {
    #[new]
    #[pyo3(signature = (*, name=None))]
    fn new(name: Option<String>) -> Self {
        Self { raw: RawLock::new(), acquired: Acquired::new(), name }
    }

    #[pyo3(signature = (blocking=true, timeout=None))]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: Option<f64>) -> PyResult<bool> {
        let Some(deadline) = acquire_deadline(blocking, timeout)? else {
            return Ok(self.try_lock(py, Hold::Open));
        };
        if self.try_lock(py, Hold::Open) {
            return Ok(true);
        }
        self.lock_slow(py, Hold::Open, deadline)
    }

    fn release(&self) -> PyResult<()> {
        self.unlock()
    }

    fn locked(&self) -> bool {
        self.is_locked()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        if self.try_lock(py, Hold::Scoped) {
            return Ok(true);
        }
        self.lock_slow(py, Hold::Scoped, None)
    }

    #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None))]
    fn __exit__(
        &self,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc_value, traceback);
        self.unlock()
    }

    /// The name given at construction.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
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
        let state = if lock.is_locked() { "locked" } else { "unlocked" };
        let name = lock.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
        Ok(format!(
            "<{state} manyhands.threading.Lock object{name} at {:#x}>",
            slf.as_ptr() as usize
        ))
    }
}

impl Resource for Lock {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Lock", name: self.name.clone(), id }
    }

    fn ended_by(&self) -> EndedBy {
        match self.raw.owner() {
            0 => EndedBy::Nobody,
            thread => EndedBy::Owner {
                thread,
                certainty: self.raw.certainty(),
                acquired_at: self.acquired.site(),
            },
        }
    }
}
