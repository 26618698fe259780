//! `Lock` of `manyhands.multiprocessing.synchronize`, below its Python face.

use manyhands_shm::locks::LOCK;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::shared::locks::methods::lock_class;

lock_class! {
    /// A lock that processes share.
    SharedLock, LOCK
}

#[pymethods]
impl SharedLock {
    /// Releases it, whoever acquired it.
    fn release(&self) -> PyResult<()> {
        self.local
            .state()
            .unlock(self.local.me())
            .map_err(|_| PyValueError::new_err("semaphore or lock released too many times"))
    }

    /// 1 if a thread of this process has it.
    fn _count(&self) -> u32 {
        let me = self.local.me().party;
        self.local.state().owner().is_some_and(|owner| owner.party == me).into()
    }
}
