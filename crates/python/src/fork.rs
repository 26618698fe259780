//! How often this process has been forked away from the one that made an object.
//!
//! A fork copies futures and executors but not the threads that work for them. Everything that
//! needs such a thread remembers the generation in which it was made and says so when it is used
//! in a later one, where it would wait for ever.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A point in the line of forks, taken when an object is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u32);

/// In a forked child: what was made before belongs to another process.
pub fn begin_generation() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

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
