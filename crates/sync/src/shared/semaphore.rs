//! A semaphore that processes share: its permits, and how many there may be.
//!
//! Guarantees: zeros are a semaphore without permits, and any method is one atomic change, so a
//! killed process has taken or given a permit or has not.
//!
//! What it does not do: give back the permits of a process that died. Any process may release, so
//! nobody can tell whether the dead one would have.

use manyhands_sys::atomic::{AtomicU32, Ordering};
use manyhands_sys::futex::Shared;

use crate::semaphore::{MAX_PERMITS, RawSemaphore, TooMany};
use crate::shared::waiting::Waiting;
use crate::sleep::Wait;
use crate::statistics::Statistics;

/// A number of permits in shared memory.
#[repr(C)]
pub struct SharedSemaphore {
    raw: RawSemaphore<Shared>,
    limit: AtomicU32,
}

impl SharedSemaphore {
    /// Makes zeros a semaphore of so many permits that nobody else knows yet. `is_bounded`: it
    /// never has more of them.
    pub fn set_up(&self, permits: u32, is_bounded: bool) {
        self.raw.reset(permits);
        self.limit.store(if is_bounded { permits } else { MAX_PERMITS }, Ordering::Relaxed);
    }

    /// Takes a permit if there is one.
    #[inline]
    pub fn try_acquire(&self) -> bool {
        self.raw.try_acquire()
    }

    /// Takes a permit, sleeping while there is none.
    #[cold]
    pub fn acquire_slow(&self, waiting: &mut Waiting<'_>) -> Wait {
        waiting.in_slices(|deadline, waiting| self.raw.acquire_slow(deadline, waiting))
    }

    /// Adds `n` permits.
    ///
    /// # Errors
    /// [`TooMany`] if there would be more than the limit; then nothing has changed.
    #[inline]
    pub fn release(&self, n: u32) -> Result<(), TooMany> {
        self.raw.release(n, self.limit())
    }

    /// Permits to be had now.
    pub fn permits(&self) -> u32 {
        self.raw.permits()
    }

    /// It never has more permits.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// How much it was used.
    pub fn statistics(&self) -> Statistics {
        self.raw.counters.read()
    }
}
