//! `Condition` of `manyhands.multiprocessing.synchronize`, below its Python face: the row of
//! waiters, and the lock that the face has.

use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_shm::locks::CONDITION;
use manyhands_shm::{FamilyOf, Object};
use manyhands_sync::shared::condition::{MAX_WAITERS, WaiterRow};
use manyhands_sync::shared::waiting::Waiting;
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::interrupt::deadline_of;
use crate::shared::locks::local_lock::LocalLock;
use crate::shared::locks::lock::SharedLock;
use crate::shared::locks::rlock::SharedRLock;
use crate::shared::locks::waiting::block;

/// Who waits for a condition.
#[pyclass(module = "manyhands._runtime", frozen, weakref)]
pub struct SharedWaiters {
    object: Object,
    family: FamilyOf,
    row: NonNull<WaiterRow>,
}

// SAFETY: the row is made of atomics and lives as long as the object.
unsafe impl Send for SharedWaiters {}
// SAFETY: as above.
unsafe impl Sync for SharedWaiters {}

impl SharedWaiters {
    fn row(&self) -> &WaiterRow {
        // SAFETY: as long as the object lives, and of its kind.
        unsafe { self.row.as_ref() }
    }
}

#[pymethods]
impl SharedWaiters {
    /// `_handle`: the name of one that exists.
    #[new]
    #[pyo3(signature = (*, _handle=None))]
    fn new(py: Python<'_>, _handle: Option<&[u8]>) -> PyResult<Self> {
        let object = match _handle {
            Some(handle) => crate::shared::open(py, handle, &CONDITION)?,
            // SAFETY: zeros are an empty row.
            None => unsafe { crate::shared::create(&CONDITION, size_of::<WaiterRow>() as u64) }?,
        };
        let family = FamilyOf(Arc::clone(object.heap()));
        let row = object.payload().cast();
        Ok(Self { object, family, row })
    }

    #[staticmethod]
    fn _open(py: Python<'_>, handle: &[u8]) -> PyResult<Self> {
        Self::new(py, Some(handle))
    }

    /// Gives `lock` back, waits for a notification, and takes it again. True: notified.
    fn wait(
        &self,
        py: Python<'_>,
        lock: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let deadline = deadline_of(timeout)?;
        let lock = lock_of(lock)?;
        check_owned(&lock, "must acquire() condition before using wait()")?;
        let waiter = self.row().enter(&self.family).map_err(|_| {
            let text = format!("{MAX_WAITERS} threads wait for this condition: no more can");
            PyRuntimeError::new_err(text)
        })?;
        let (me, hold) = (lock.me(), lock.state().hold());
        let depth = if lock.state().is_reentrant() {
            lock.state().unlock_all(me).unwrap_or(1)
        } else {
            let _ = lock.state().unlock(me);
            1
        };
        let end =
            block(py, &self.family, deadline, |waiting: &mut Waiting<'_>| waiter.wait(waiting));
        let is_notified = waiter.leave();
        lock.lock_again(py, hold, depth)?;
        end.map(|_| is_notified)
    }

    /// Notifies the `n` who have waited longest. How many there were.
    fn notify(&self, py: Python<'_>, lock: &Bound<'_, PyAny>, n: usize) -> PyResult<usize> {
        let lock = lock_of(lock)?;
        check_owned(&lock, "lock is not owned")?;
        let me = lock.me();
        Ok(py.detach(|| self.row().notify(n, &self.family, Some((lock.state(), me)))))
    }

    fn count(&self) -> usize {
        self.row().n_waiting()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        crate::shared::reduce(slf.as_any(), &slf.get().object)
    }
}

fn lock_of(lock: &Bound<'_, PyAny>) -> PyResult<Arc<LocalLock>> {
    if let Ok(lock) = lock.cast::<SharedRLock>() {
        return Ok(Arc::clone(&lock.get().local));
    }
    let lock = lock.cast::<SharedLock>().map_err(|_| {
        PyTypeError::new_err(
            "a Condition between processes needs a Lock or RLock of manyhands.multiprocessing",
        )
    })?;
    Ok(Arc::clone(&lock.get().local))
}

/// The standard class asserts.
fn check_owned(lock: &LocalLock, text: &'static str) -> PyResult<()> {
    match lock.state().is_of(lock.me()) {
        true => Ok(()),
        false => Err(PyAssertionError::new_err(text)),
    }
}
