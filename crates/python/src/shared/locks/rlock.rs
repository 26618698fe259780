//! `RLock` of `manyhands.multiprocessing.synchronize`, below its Python face.

use manyhands_shm::locks::RLOCK;
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;

use crate::shared::locks::methods::lock_class;

lock_class! {
    /// A lock that processes share and its owner may take again.
    SharedRLock, RLOCK
}

#[pymethods]
impl SharedRLock {
    /// Undoes one acquisition.
    fn release(&self) -> PyResult<()> {
        self.local.state().unlock_mine(self.local.me()).map_err(|_| {
            PyAssertionError::new_err("attempt to release recursive lock not owned by thread")
        })
    }

    /// How often a thread of this process has it.
    fn _count(&self) -> u32 {
        let me = self.local.me().party;
        let owner = self.local.state().owner().filter(|owner| owner.party == me);
        owner.map_or(0, |owner| self.local.state().depth_of(owner))
    }
}
