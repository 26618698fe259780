//! A number of permits.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Private;

use super::place::Place;
use crate::blocking::block;
use crate::deadlock::{Certainty, Description, EndedBy, Resource, Site};
use crate::semaphore::{MAX_PERMITS, RawSemaphore};
use crate::sleep::Waiting;
use crate::spin;
use crate::statistics::Statistics;

/// A number of permits, to take and to give back.
///
/// ```
/// let ovens = manyhands_sync::Semaphore::new(2);
/// let (one, _other) = (ovens.acquire(), ovens.acquire());
/// assert!(ovens.try_acquire().is_none());
/// drop(one);
/// assert_eq!(ovens.permits(), 1);
/// ```
///
/// As a signal: who waits takes a permit and [forgets](Permit::forget) it, who signals
/// [releases](Semaphore::release) one.
pub struct Semaphore {
    raw: RawSemaphore<Private>,
    /// Made with one permit: perhaps a lock.
    is_single: bool,
    /// Where the last permit was taken.
    taken_at: Place,
    name: Option<&'static str>,
}

/// One permit; given back when dropped.
#[must_use = "the permit is given back when dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Semaphore {
    /// So many permits.
    ///
    /// # Panics
    /// If they are more than [`MAX_PERMITS`].
    pub const fn new(permits: u32) -> Self {
        Self::with_name(None, permits)
    }

    /// The same with a name for reports.
    ///
    /// # Panics
    /// As [`Semaphore::new`].
    pub const fn named(name: &'static str, permits: u32) -> Self {
        Self::with_name(Some(name), permits)
    }

    const fn with_name(name: Option<&'static str>, permits: u32) -> Self {
        assert!(permits <= MAX_PERMITS, "a semaphore has at most MAX_PERMITS permits");
        let raw = RawSemaphore::new(permits);
        Self { raw, is_single: permits == 1, taken_at: Place::unknown(), name }
    }

    /// Takes a permit; waits until there is one.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Permit<'_> {
        let here = Location::caller();
        if !self.raw.try_acquire() {
            self.wait(here, None);
        }
        self.permit(here)
    }

    /// Takes a permit if there is one.
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        let here = Location::caller();
        self.raw.try_acquire().then(|| self.permit(here))
    }

    /// Takes a permit unless the wait for it takes longer than `timeout`.
    #[track_caller]
    pub fn acquire_for(&self, timeout: Duration) -> Option<Permit<'_>> {
        let here = Location::caller();
        let taken = self.raw.try_acquire() || self.wait(here, Some(Deadline::after(timeout)));
        taken.then(|| self.permit(here))
    }

    /// Adds `n` permits.
    ///
    /// # Panics
    /// If there would be more than [`MAX_PERMITS`].
    pub fn release(&self, n: u32) {
        let released = self.raw.release(n, MAX_PERMITS);
        assert!(released.is_ok(), "a semaphore was released so often that its count overflowed");
    }

    /// Permits to be had now.
    pub fn permits(&self) -> u32 {
        self.raw.permits()
    }

    /// How much it was used.
    pub fn statistics(&self) -> Statistics {
        self.raw.counters.read()
    }

    #[inline]
    fn permit(&self, here: &'static Location<'static>) -> Permit<'_> {
        self.taken_at.set(here);
        Permit { semaphore: self }
    }

    #[cold]
    #[track_caller]
    fn wait(&self, here: &'static Location<'static>, deadline: Option<Deadline>) -> bool {
        if spin::soon(spin::FOR_A_HOLDER, || self.raw.try_acquire().then_some(())).is_some() {
            return true;
        }
        let mut waiting = Waiting::new(self, Site::Rust(here));
        block(&mut waiting, deadline, |deadline, waiting| self.raw.acquire_slow(deadline, waiting))
    }
}

impl Permit<'_> {
    /// Keeps the permit for good: the semaphore has one less.
    pub const fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        // A destructor must not panic; permits that overflow are as good as those that do not.
        let _ = self.semaphore.raw.release(1, MAX_PERMITS);
    }
}

impl Resource for Semaphore {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Semaphore", name: self.name.map(ToOwned::to_owned), id }
    }

    fn ended_by(&self) -> EndedBy {
        if self.raw.permits() > 0 {
            return EndedBy::Nobody;
        }
        match self.raw.last_taker() {
            // A lock if it was never seen to be a signal. A permit may go to another thread, so
            // that is not sure.
            thread if thread != 0 && self.is_single && !self.raw.is_signal() => EndedBy::Owner {
                thread,
                certainty: Certainty::Likely,
                acquired_at: self.taken_at.site(),
            },
            _ => EndedBy::Anyone,
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("permits", &self.permits()).finish_non_exhaustive()
    }
}
