//! How often this process has been forked away from the one that made an object.
//!
//! A fork copies futures and executors but not the threads that work for them. Everything that
//! needs such a thread remembers the generation in which it was made and says so when it is used
//! in a later one, where it would wait for ever.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::contract;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A point in the line of forks, taken when an object is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u32);

impl Generation {
    /// The generation of this process.
    #[inline]
    pub fn current() -> Self {
        Self(GENERATION.load(Ordering::Relaxed))
    }

    /// The same as a number, to be kept in an atomic.
    #[inline]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Whether the object was made in this process.
    #[inline]
    pub fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Refuses a wait that nobody can end.
    ///
    /// # Errors
    /// RuntimeError if this process was forked away from the object's.
    pub fn check(self, what: &str) -> PyResult<()> {
        if self.is_current() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!(
            "this {what} belongs to the process that was forked: its workers do not exist here. \
             Make a new executor after os.fork()"
        )))
    }
}

/// Lets every child that this process forks run [`after_fork_in_child`].
pub fn hook_into(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let hooks = PyDict::new(module.py());
    hooks.set_item("before", wrap_pyfunction!(before_fork, module)?)?;
    hooks.set_item("after_in_parent", wrap_pyfunction!(after_fork_in_parent, module)?)?;
    hooks.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, module)?)?;
    contract::REGISTER_AT_FORK.get(module.py())?.call((), Some(&hooks))?;
    Ok(())
}

/// The child is to be of our family, with references of its own to what we share.
#[pyfunction]
fn before_fork() {
    manyhands_shm::family::before_fork();
}

#[pyfunction]
fn after_fork_in_parent() {
    manyhands_shm::family::after_fork_in_parent();
}

/// What belongs to the process that was forked is not this one's, except what is shared.
#[pyfunction]
fn after_fork_in_child() {
    manyhands_shm::family::after_fork_in_child();
    GENERATION.fetch_add(1, Ordering::Relaxed);
    crate::dispatcher::forget_after_fork();
    crate::process::forget_after_fork();
    crate::worker::forget_after_fork();
    crate::shared::locks::local_lock::forget_after_fork();
    manyhands_queue::pipe::forget_after_fork();
}
