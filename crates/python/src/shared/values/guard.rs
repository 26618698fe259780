//! The lock of a shared value or array, as its own methods use it.
//!
//! Each access takes the lock, as the standard classes do: nobody sees or changes a value between
//! the steps of a block that holds it. Who has it already pays a look at its word.
//!
//! A death within an access leaves a whole number, so an access that takes the lock over from a
//! dead owner says nothing. That the owner died is left for who acquires the lock itself: it may
//! have died in a block of the program's.

use std::sync::Arc;

use manyhands_shm::cell::Memory;
use manyhands_sync::lock::Hold;
use manyhands_sync::robust::Owner;
use manyhands_sync::shared::waiting::Waiting;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyTuple};

use crate::call::call;
use crate::shared::locks::local_lock::LocalLock;
use crate::shared::locks::rlock::SharedRLock;
use crate::shared::values::lost_update;

/// A lock, and how it is taken.
pub struct Guard {
    lock: Py<PyAny>,
    way: Way,
}

enum Way {
    /// An RLock of the family.
    Ours(Arc<LocalLock>),
    /// Whatever can be acquired and released.
    Other {
        acquire: Py<PyAny>,
        release: Py<PyAny>,
        /// Says whether the caller has it; None: the lock cannot be asked.
        is_mine: Option<Py<PyAny>>,
    },
}

/// The lock is held until this goes.
pub enum Entered<'a, 'py> {
    /// It was held before.
    Mine,
    Ours(&'a LocalLock, Owner),
    Other(&'a Py<PyAny>, Python<'py>),
}

impl Guard {
    /// # Errors
    /// AttributeError if `lock` cannot be acquired or released.
    pub fn new(lock: &Bound<'_, PyAny>) -> PyResult<Self> {
        let way = match lock.cast::<SharedRLock>() {
            Ok(ours) => Way::Ours(Arc::clone(&ours.get().local)),
            Err(_) => Way::Other {
                acquire: lock.getattr("acquire")?.unbind(),
                release: lock.getattr("release")?.unbind(),
                is_mine: owner_question(lock)?.map(Bound::unbind),
            },
        };
        Ok(Self { lock: lock.clone().unbind(), way })
    }

    pub fn lock<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.lock.bind(py).clone()
    }

    /// The beginning of a block of the program's that holds the lock.
    pub fn begin_block<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.way {
            Way::Ours(local) => {
                let taken = local.enter(py)?;
                Ok(PyBool::new(py, taken).to_owned().into_any())
            }
            Way::Other { .. } => self.lock(py).call_method0("__enter__"),
        }
    }

    /// The end of such a block.
    pub fn end_block<'py>(&self, exc_info: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let py = exc_info.py();
        if let Way::Ours(local) = &self.way
            && local.state().unlock_mine(local.me()).is_ok()
        {
            return Ok(py.None().into_bound(py));
        }
        self.lock(py).call_method1("__exit__", exc_info)
    }

    /// Whether the calling thread holds the lock; true if that cannot be known, so that nothing is
    /// held against it.
    pub fn is_mine(&self, py: Python<'_>) -> PyResult<bool> {
        match &self.way {
            Way::Ours(local) => Ok(local.state().is_of(local.me())),
            Way::Other { is_mine: None, .. } => Ok(true),
            Way::Other { is_mine: Some(is_mine), .. } => {
                call(is_mine.bind(py), &PyTuple::empty(py), None)?.is_truthy()
            }
        }
    }

    /// As [`Guard::is_mine`], where anybody wants to know.
    pub fn is_mine_if_watched(&self, py: Python<'_>, memory: &Memory) -> PyResult<bool> {
        if lost_update::is_on(memory) { self.is_mine(py) } else { Ok(true) }
    }

    /// Takes the lock.
    #[inline]
    pub fn enter<'py>(&self, py: Python<'py>) -> PyResult<Entered<'_, 'py>> {
        match &self.way {
            Way::Ours(local) => {
                let me = local.me();
                if local.state().is_of(me) {
                    return Ok(Entered::Mine);
                }
                if !local.state().try_lock(me, Hold::Scoped) {
                    enter_slow(py, local, me)?;
                }
                Ok(Entered::Ours(local, me))
            }
            Way::Other { acquire, release, .. } => {
                call(acquire.bind(py), &PyTuple::empty(py), None)?;
                Ok(Entered::Other(release, py))
            }
        }
    }
}

#[cold]
fn enter_slow(py: Python<'_>, local: &LocalLock, me: Owner) -> PyResult<()> {
    let step = |waiting: &mut Waiting<'_>| local.state().lock_slow(me, Hold::Scoped, waiting);
    local.block(py, None, step).map(drop)
}

/// What tells whether the caller has the lock.
fn owner_question<'py>(lock: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    for name in ["_is_mine", "_is_owned"] {
        if let Some(question) = lock.getattr_opt(name)? {
            return Ok(Some(question));
        }
    }
    // The standard library's locks between processes.
    match lock.getattr_opt("_semlock")? {
        Some(semaphore) => semaphore.getattr_opt("_is_mine"),
        None => Ok(None),
    }
}

impl Drop for Entered<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        match self {
            Self::Mine => {}
            Self::Ours(local, me) => {
                // It is ours: nobody else gives a reentrant lock back.
                let _ = local.state().unlock_mine(*me);
            }
            Self::Other(release, py) => {
                if let Err(error) = call(release.bind(*py), &PyTuple::empty(*py), None) {
                    error.write_unraisable(*py, None);
                }
            }
        }
    }
}
