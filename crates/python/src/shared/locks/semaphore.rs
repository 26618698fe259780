//! `Semaphore` and `BoundedSemaphore` of `manyhands.multiprocessing.synchronize`, below their
//! Python faces.
//!
//! What it does not do: give back the permits of a process that died. Any process may release, so
//! nobody can tell whether the dead one would have.

use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_shm::locks::SEMAPHORE;
use manyhands_shm::{FamilyOf, Object};
use manyhands_sync::semaphore::MAX_PERMITS;
use manyhands_sync::shared::semaphore::SharedSemaphore as State;
use manyhands_sync::shared::waiting::Waiting;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::numbers::clamped;

/// A number of permits that processes share.
#[pyclass(module = "manyhands._runtime", frozen, subclass, weakref)]
pub struct SharedSemaphore {
    object: Object,
    family: FamilyOf,
    state: NonNull<State>,
}

// SAFETY: the state is made of atomics and lives as long as the object.
unsafe impl Send for SharedSemaphore {}
// SAFETY: as above.
unsafe impl Sync for SharedSemaphore {}

impl SharedSemaphore {
    fn state(&self) -> &State {
        // SAFETY: as long as the object lives, and of its kind.
        unsafe { self.state.as_ref() }
    }

    fn of(object: Object) -> Self {
        let family = FamilyOf(Arc::clone(object.heap()));
        let state = object.payload().cast();
        Self { object, family, state }
    }
}

#[pymethods]
impl SharedSemaphore {
    /// `_handle`: the name of one that exists.
    #[new]
    #[pyo3(signature = (value=1, *, ctx=None, _is_bounded=false, _handle=None))]
    fn new(
        py: Python<'_>,
        #[pyo3(from_py_with = clamped)] value: i64,
        ctx: Option<&Bound<'_, PyAny>>,
        _is_bounded: bool,
        _handle: Option<&[u8]>,
    ) -> PyResult<Self> {
        let _ = ctx;
        if let Some(handle) = _handle {
            return crate::shared::open(py, handle, &SEMAPHORE).map(Self::of);
        }
        let value = u32::try_from(value).ok().filter(|value| *value <= MAX_PERMITS);
        let value = value.ok_or_else(|| {
            let text = format!("a semaphore starts with 0 to {MAX_PERMITS} permits");
            PyValueError::new_err(text)
        })?;
        // SAFETY: zeros are a semaphore without permits.
        let object = unsafe { crate::shared::create(&SEMAPHORE, size_of::<State>() as u64) }?;
        let this = Self::of(object);
        this.state().set_up(value, _is_bounded);
        Ok(this)
    }

    #[pyo3(signature = (block=true, timeout=None))]
    fn acquire(
        &self,
        py: Python<'_>,
        block: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        if self.state().try_acquire() {
            return Ok(true);
        }
        let deadline = crate::shared::acquire_deadline(block, timeout)?;
        crate::shared::locks::waiting::block(
            py,
            &self.family,
            deadline,
            |waiting: &mut Waiting<'_>| self.state().acquire_slow(waiting),
        )
    }

    fn release(&self) -> PyResult<()> {
        self.state()
            .release(1)
            .map_err(|_| PyValueError::new_err("semaphore or lock released too many times"))
    }

    /// How many permits there are.
    fn get_value(&self) -> u32 {
        self.state().permits()
    }

    /// Whether there is none.
    fn locked(&self) -> bool {
        self.get_value() == 0
    }

    #[getter]
    fn _maxvalue(&self) -> u32 {
        self.state().limit()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, None)
    }

    #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None))]
    fn __exit__(
        &self,
        exc_type: Option<&Bound<'_, PyAny>>,
        exc_value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc_value, traceback);
        self.release()
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        crate::sync::statistics(py, self.state().statistics())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        crate::shared::reduce(slf.as_any(), &slf.get().object)
    }
}
