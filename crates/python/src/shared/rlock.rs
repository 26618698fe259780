//! `RLock` of `manyhands.multiprocessing.synchronize`, below its Python face.

use std::sync::Arc;

use manyhands_shm::locks::RLOCK;
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::block::{Block, HasBlock};
use super::held::LocalLock;

/// A lock that processes share and its owner may take again.
#[pyclass(module = "manyhands._runtime", frozen, subclass, weakref)]
pub struct SharedRLock {
    pub local: Arc<LocalLock>,
    block: Option<Block>,
}

impl HasBlock for SharedRLock {
    fn block(&self) -> Option<&Block> {
        self.block.as_ref()
    }
}

#[pymethods]
impl SharedRLock {
    /// `_handle`: the name of one that exists.
    #[new]
    #[pyo3(signature = (*, ctx=None, owner_died=None, name=None, _handle=None))]
    fn new(
        py: Python<'_>,
        ctx: Option<&Bound<'_, PyAny>>,
        owner_died: Option<&str>,
        name: Option<&str>,
        _handle: Option<&[u8]>,
    ) -> PyResult<Self> {
        let _ = ctx;
        let local = LocalLock::make(py, &RLOCK, owner_died, name, _handle)?;
        let twin = Bound::new(py, Self { local: Arc::clone(&local), block: None })?;
        Ok(Self { local, block: Some(Block::of(twin)?) })
    }

    #[pyo3(signature = (block=true, timeout=None))]
    fn acquire(
        &self,
        py: Python<'_>,
        block: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        self.local.acquire(py, || super::acquire_deadline(block, timeout))
    }

    /// Undoes one acquisition.
    fn release(&self) -> PyResult<()> {
        self.local.state().unlock_mine(self.local.me()).map_err(|_| {
            PyAssertionError::new_err("attempt to release recursive lock not owned by thread")
        })
    }

    fn locked(&self) -> bool {
        self.local.state().owner().is_some()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.local.enter(py)
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

    /// The name given at construction.
    #[getter]
    fn name(&self) -> Option<String> {
        self.local.state().name()
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.local.statistics(py)
    }

    /// Whether the calling thread owns it.
    fn _is_mine(&self) -> bool {
        self.local.state().is_of(self.local.me())
    }

    /// How often a thread of this process has it.
    fn _count(&self) -> u32 {
        let me = self.local.me().party;
        let owner = self.local.state().owner().filter(|owner| owner.party == me);
        owner.map_or(0, |owner| self.local.state().depth_of(owner))
    }

    fn _get_value(&self) -> u32 {
        u32::from(!self.locked())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        super::reduce(slf.as_any(), slf.get().local.object())
    }
}
