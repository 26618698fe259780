//! What the next one is told when a process died with a mutex.

use std::error::Error;
use std::fmt;

use bytemuck::Pod;

use super::mutex::SharedMutexGuard;

/// A process died while it had the mutex: what lies in it may be half-changed. As
/// [`PoisonError`](std::sync::PoisonError), for processes.
///
/// Who gets this has the mutex. [`into_inner`](Self::into_inner) takes the guard, and with it the
/// task to mend the data: nobody else is told of this death. Dropped instead, as by `?` or
/// `expect`, it gives the mutex back, and the next one is told.
#[must_use = "the mutex is given back when this is dropped, and the next one is told"]
pub struct OwnerDied<G> {
    guard: G,
    pid: Option<u32>,
    what: String,
}

impl<'a, T: Pod> OwnerDied<SharedMutexGuard<'a, T>> {
    pub(super) fn new(guard: SharedMutexGuard<'a, T>, pid: Option<u32>, what: String) -> Self {
        Self { guard, pid, what }
    }

    /// The guard. The caller sees to it that the data is whole.
    pub fn into_inner(self) -> SharedMutexGuard<'a, T> {
        let mut guard = self.guard;
        guard.accept();
        guard
    }
}

impl<G> OwnerDied<G> {
    /// The id that the dead process had; `None` if nobody knows any more.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }
}

impl<G> fmt::Display for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid} died with {}", self.what)?,
            None => write!(f, "a process died with {}", self.what)?,
        }
        f.write_str(": mend what lies in it, which may be half-changed, and go on with the guard")
    }
}

impl<G> fmt::Debug for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerDied")
            .field("pid", &self.pid)
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl<G> Error for OwnerDied<G> {}
