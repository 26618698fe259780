//! `manyhands.threading.RLock`.

use std::sync::OnceLock;

use manyhands_sync::deadlock::{Certainty, Description, EndedBy, Resource};
use manyhands_sync::rlock::RawRLock;
use manyhands_sync::sleep::Waiting;
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Private;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::blocking::{acquire_deadline, block};
use super::site::Acquired;

/// A lock that its owner may take again.
#[pyclass(module = "manyhands.threading", frozen, subclass, weakref)]
pub struct RLock {
    raw: RawRLock<Private>,
    acquired: Acquired,
    name: OnceLock<String>,
}

impl RLock {
    /// Takes the lock if it is free or the caller's.
    ///
    /// # Errors
    /// OverflowError: the caller has it as often as can be counted.
    #[inline]
    pub fn try_lock(&self, py: Python<'_>) -> PyResult<bool> {
        let taken = self.raw.try_lock().map_err(super::overflow)?;
        if taken && self.raw.depth() == 1 {
            self.acquired.note(py);
        }
        Ok(taken)
    }

    /// Takes the lock, waiting until `deadline`.
    #[cold]
    pub fn lock_slow(&self, py: Python<'_>, deadline: Option<Deadline>) -> PyResult<bool> {
        let step = |deadline, waiting: &mut Waiting<'_>| self.raw.lock_slow(deadline, waiting);
        let taken = block(py, self, deadline, false, step)?;
        if taken {
            self.acquired.note(py);
        }
        Ok(taken)
    }

    /// Undoes one acquisition.
    #[inline]
    pub fn unlock(&self) -> PyResult<()> {
        self.raw.unlock().map_err(|_| PyRuntimeError::new_err("cannot release un-acquired lock"))
    }

    /// Undoes all acquisitions of the caller.
    pub fn unlock_all(&self) -> PyResult<u32> {
        self.raw
            .unlock_all()
            .map_err(|_| PyRuntimeError::new_err("cannot release un-acquired lock"))
    }

    /// Takes the lock back as it was.
    pub fn lock_again(&self, py: Python<'_>, depth: u32) -> PyResult<()> {
        if !self.try_lock(py)? {
            self.lock_slow(py, None)?;
        }
        // Whoever has it has it once at least, whatever is to be restored.
        self.raw.set_depth(depth.max(1));
        Ok(())
    }

    pub fn is_mine(&self) -> bool {
        self.raw.lock.is_mine()
    }
}

#[pymethods]
impl RLock {
    /// A subclass may have any arguments of its own, so the real ones come with `__init__`.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(*, name=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { raw: RawRLock::new(), acquired: Acquired::new(), name: OnceLock::new() }
    }

    /// Other arguments than `name` have no meaning; the standard class warns since 3.13.
    #[pyo3(signature = (*args, name=None, **kwargs))]
    fn __init__(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        name: Option<String>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let is_empty = args.is_empty() && kwargs.is_none_or(|kwargs| kwargs.is_empty());
        if !is_empty && py.version_info() >= (3, 13) {
            super::warn_deprecated(py, "Passing arguments to RLock is deprecated")?;
        }
        if let Some(name) = name {
            let _ = self.name.set(name);
        }
        Ok(())
    }

    #[pyo3(signature = (blocking=true, timeout=None))]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: Option<f64>) -> PyResult<bool> {
        let Some(deadline) = acquire_deadline(blocking, timeout)? else {
            return self.try_lock(py);
        };
        if self.try_lock(py)? {
            return Ok(true);
        }
        self.lock_slow(py, deadline)
    }

    fn release(&self) -> PyResult<()> {
        self.unlock()
    }

    fn locked(&self) -> bool {
        self.raw.lock.is_locked()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        if self.try_lock(py)? {
            return Ok(true);
        }
        self.lock_slow(py, None)
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
        self.name.get().map(String::as_str)
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        super::statistics(py, self.raw.lock.counters.read())
    }

    fn _is_owned(&self) -> bool {
        self.is_mine()
    }

    fn _recursion_count(&self) -> u32 {
        self.raw.my_depth()
    }

    fn _release_save(&self) -> PyResult<u32> {
        self.unlock_all()
    }

    fn _acquire_restore(&self, py: Python<'_>, depth: u32) -> PyResult<()> {
        self.lock_again(py, depth)
    }

    fn _at_fork_reinit(&self) {
        self.raw.lock.reset();
        self.raw.set_depth(0);
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(super::refuse_pickling(slf))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let lock = slf.get();
        let class = slf.get_type();
        let state = if lock.locked() { "locked" } else { "unlocked" };
        let name = lock.name().map(|name| format!(" {name:?}")).unwrap_or_default();
        Ok(format!(
            "<{state} {}.{} object{name} owner={} count={} at {:#x}>",
            class.module()?,
            class.qualname()?,
            lock.raw.lock.owner(),
            lock.raw.depth(),
            slf.as_ptr() as usize
        ))
    }
}

impl Resource for RLock {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "RLock", name: self.name.get().cloned(), id }
    }

    fn ended_by(&self) -> EndedBy {
        match self.raw.lock.owner() {
            0 => EndedBy::Nobody,
            thread => EndedBy::Owner {
                thread,
                certainty: Certainty::Sure,
                acquired_at: self.acquired.site(),
            },
        }
    }
}
