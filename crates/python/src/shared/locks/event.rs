//! `Event` of `manyhands.multiprocessing.synchronize`, below its Python face.

use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_shm::locks::EVENT;
use manyhands_shm::{FamilyOf, Object};
use manyhands_sync::event::RawEvent;
use manyhands_sync::shared::waiting::Waiting;
use manyhands_sys::futex::Shared;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::interrupt::deadline_of;
use crate::shared::locks::waiting::block;

/// A flag that processes share.
#[pyclass(module = "manyhands._runtime", frozen, subclass, weakref)]
pub struct SharedEvent {
    object: Object,
    family: FamilyOf,
    raw: NonNull<RawEvent<Shared>>,
}

// SAFETY: the event is made of atomics and lives as long as the object.
unsafe impl Send for SharedEvent {}
// SAFETY: as above.
unsafe impl Sync for SharedEvent {}

impl SharedEvent {
    fn raw(&self) -> &RawEvent<Shared> {
        // SAFETY: as long as the object lives, and of its kind.
        unsafe { self.raw.as_ref() }
    }
}

#[pymethods]
impl SharedEvent {
    /// `_handle`: the name of one that exists.
    #[new]
    #[pyo3(signature = (*, ctx=None, _handle=None))]
    fn new(
        py: Python<'_>,
        ctx: Option<&Bound<'_, PyAny>>,
        _handle: Option<&[u8]>,
    ) -> PyResult<Self> {
        let _ = ctx;
        let object = match _handle {
            Some(handle) => crate::shared::open(py, handle, &EVENT)?,
            // SAFETY: zeros are an event that is not set.
            None => unsafe { crate::shared::create(&EVENT, size_of::<RawEvent<Shared>>() as u64) }?,
        };
        let family = FamilyOf(Arc::clone(object.heap()));
        let raw = object.payload().cast();
        Ok(Self { object, family, raw })
    }

    fn is_set(&self) -> bool {
        self.raw().is_set()
    }

    fn set(&self) {
        self.raw().set();
    }

    fn clear(&self) {
        self.raw().clear();
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let generation = self.raw().generation();
        if self.raw().is_set() {
            return Ok(true);
        }
        block(py, &self.family, deadline_of(timeout)?, |waiting: &mut Waiting<'_>| {
            waiting.in_slices(|deadline, waiting| self.raw().wait(generation, deadline, waiting))
        })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        crate::shared::reduce(slf.as_any(), &slf.get().object)
    }
}
