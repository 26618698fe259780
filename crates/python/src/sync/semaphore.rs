//! `manyhands.threading.Semaphore` and `BoundedSemaphore`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use manyhands_sync::deadlock::{Certainty, Description, EndedBy, Resource};
use manyhands_sync::semaphore::{MAX_PERMITS, RawSemaphore};
use manyhands_sync::sleep::Waiting;
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Private;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::blocking::block;
use super::site::Acquired;
use crate::interrupt::deadline_of;
use crate::numbers::clamped;

/// A number of permits.
#[pyclass(module = "manyhands.threading", frozen, subclass, weakref, dict)]
pub struct Semaphore {
    raw: RawSemaphore<Private>,
    initial: AtomicU32,
    limit: AtomicU32,
    acquired: Acquired,
    name: OnceLock<String>,
}

/// A semaphore that is never released more often than acquired.
#[pyclass(module = "manyhands.threading", frozen, subclass, extends = Semaphore)]
pub struct BoundedSemaphore;

impl Semaphore {
    /// A subclass may have any arguments of its own, so the real ones come with `__init__`.
    fn blank() -> Self {
        Self {
            raw: RawSemaphore::new(1),
            initial: AtomicU32::new(1),
            limit: AtomicU32::new(MAX_PERMITS),
            acquired: Acquired::new(),
            name: OnceLock::new(),
        }
    }

    fn set_up(&self, value: i64, is_bounded: bool, name: Option<String>) -> PyResult<()> {
        if value < 0 {
            return Err(PyValueError::new_err("semaphore initial value must be >= 0"));
        }
        let initial = u32::try_from(value).ok().filter(|value| *value <= MAX_PERMITS);
        let initial = initial.ok_or_else(|| {
            PyValueError::new_err(format!("a semaphore has at most {MAX_PERMITS} permits"))
        })?;
        self.raw.reset(initial);
        self.initial.store(initial, Ordering::Relaxed);
        self.limit.store(if is_bounded { initial } else { MAX_PERMITS }, Ordering::Relaxed);
        if let Some(name) = name {
            let _ = self.name.set(name);
        }
        Ok(())
    }

    /// Of one permit there is one holder, who may be reported.
    fn is_lock(&self) -> bool {
        self.initial.load(Ordering::Relaxed) == 1
    }

    fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    fn try_acquire(&self, py: Python<'_>) -> bool {
        let taken = self.raw.try_acquire();
        if taken && self.is_lock() {
            self.acquired.note(py);
        }
        taken
    }

    #[cold]
    fn acquire_slow(&self, py: Python<'_>, deadline: Option<Deadline>) -> PyResult<bool> {
        let step = |deadline, waiting: &mut Waiting<'_>| self.raw.acquire_slow(deadline, waiting);
        let taken = block(py, self, deadline, false, step)?;
        if taken && self.is_lock() {
            self.acquired.note(py);
        }
        Ok(taken)
    }
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1, *, name=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::blank()
    }

    #[pyo3(signature = (value=1, *, name=None))]
    fn __init__(
        &self,
        #[pyo3(from_py_with = clamped)] value: i64,
        name: Option<String>,
    ) -> PyResult<()> {
        self.set_up(value, false, name)
    }

    #[pyo3(signature = (blocking=true, timeout=None))]
    fn acquire(
        &self,
        py: Python<'_>,
        blocking: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        if !blocking && timeout.is_some() {
            let text = "can't specify timeout for non-blocking acquire";
            return Err(PyValueError::new_err(text));
        }
        if self.try_acquire(py) {
            return Ok(true);
        }
        if !blocking {
            return Ok(false);
        }
        self.acquire_slow(py, deadline_of(timeout)?)
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        if self.try_acquire(py) {
            return Ok(true);
        }
        self.acquire_slow(py, None)
    }

    #[pyo3(signature = (n=1))]
    fn release(&self, #[pyo3(from_py_with = clamped)] n: i64) -> PyResult<()> {
        if n < 1 {
            return Err(PyValueError::new_err("n must be one or more"));
        }
        let released = u32::try_from(n).ok().map(|n| self.raw.release(n, self.limit()));
        match released {
            Some(Ok(())) => Ok(()),
            _ => Err(PyValueError::new_err("Semaphore released too many times")),
        }
    }

    #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None))]
    fn __exit__(
        &self,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc_value, traceback);
        self.release(1)
    }

    /// Whether no permit is to be had.
    fn locked(&self) -> bool {
        self.raw.permits() == 0
    }

    /// The name given at construction.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.get().map(String::as_str)
    }

    #[getter]
    fn _value(&self) -> u32 {
        self.raw.permits()
    }

    #[getter]
    fn _initial_value(&self) -> u32 {
        self.initial.load(Ordering::Relaxed)
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        super::statistics(py, self.raw.counters.read())
    }

    fn _at_fork_reinit(&self) {
        self.raw.reset(self.initial.load(Ordering::Relaxed));
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(super::refuse_pickling(slf))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let semaphore = slf.get();
        let mut state = format!("value={}", semaphore.raw.permits());
        if semaphore.limit() < MAX_PERMITS {
            state.push_str(&format!("/{}", semaphore.limit()));
        }
        super::repr(slf, semaphore.name(), &state)
    }
}

#[pymethods]
impl BoundedSemaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(value=1, *, name=None)")]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Semaphore::blank()).add_subclass(Self)
    }

    #[pyo3(signature = (value=1, *, name=None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = clamped)] value: i64,
        name: Option<String>,
    ) -> PyResult<()> {
        slf.as_super().get().set_up(value, true, name)
    }
}

impl Resource for Semaphore {
    fn describe(&self) -> Description {
        let kind = if self.limit() < MAX_PERMITS { "BoundedSemaphore" } else { "Semaphore" };
        Description { kind, name: self.name.get().cloned(), id: std::ptr::from_ref(self) as usize }
    }

    fn ended_by(&self) -> EndedBy {
        if self.raw.permits() > 0 {
            return EndedBy::Nobody;
        }
        match self.raw.last_taker() {
            thread if thread != 0 && self.is_lock() => EndedBy::Owner {
                thread,
                certainty: if self.raw.is_signal() { Certainty::Unsure } else { Certainty::Likely },
                acquired_at: self.acquired.site(),
            },
            _ => EndedBy::Anyone,
        }
    }
}
