//! A number of permits that processes share.

use std::fmt;
use std::time::Duration;

use manyhands_shm::object::Shape;
use manyhands_sync::semaphore::MAX_PERMITS;
use manyhands_sync::shared::semaphore::SharedSemaphore as State;
use manyhands_sync::statistics::Statistics;
use manyhands_sys::clock::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::located::Located;
use super::waiting::block;
use crate::ShareError;
use crate::shared::travel;

/// A number of permits, to take and to give back, that all processes of the family see.
///
/// Clones are the same one, also in another process. The permits of a process that was killed are
/// gone with it: any process may release one, so nobody can tell whether the dead one would have.
///
/// ```
/// use manyhands::{Process, SharedSemaphore};
///
/// #[manyhands::task]
/// fn bake(ovens: SharedSemaphore) {
///     let _oven = ovens.acquire();
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let ovens = SharedSemaphore::new(2)?;
/// let start = |_| Process::spawn(bake::task, ovens.clone());
/// let processes = (0..3).map(start).collect::<Result<Vec<_>, _>>()?;
/// for process in processes {
///     process.join()?;
/// }
/// assert_eq!(ovens.permits(), 2);
/// # Ok(())
/// # }
/// ```
///
/// As a signal: who waits takes a permit and [forgets](SharedPermit::forget) it, who signals
/// [releases](SharedSemaphore::release) one.
#[derive(Clone)]
pub struct SharedSemaphore {
    at: Located<State>,
}

/// One permit; given back when dropped.
#[must_use = "the permit is given back when dropped"]
pub struct SharedPermit<'a> {
    semaphore: &'a SharedSemaphore,
}

impl SharedSemaphore {
    /// So many permits.
    ///
    /// # Errors
    /// [`ShareError`].
    ///
    /// # Panics
    /// If they are more than 2³¹ − 1.
    pub fn new(permits: u32) -> Result<Self, ShareError> {
        assert!(permits <= MAX_PERMITS, "a semaphore has at most {MAX_PERMITS} permits");
        let at: Located<State> = Located::create(Shape::NONE, size_of::<State>() as u64)?;
        at.state().set_up(permits, false);
        Ok(Self { at })
    }

    /// Takes a permit; waits until there is one.
    #[inline]
    pub fn acquire(&self) -> SharedPermit<'_> {
        if !self.state().try_acquire() {
            self.wait(None);
        }
        SharedPermit { semaphore: self }
    }

    /// Takes a permit if there is one.
    #[inline]
    pub fn try_acquire(&self) -> Option<SharedPermit<'_>> {
        self.state().try_acquire().then(|| SharedPermit { semaphore: self })
    }

    /// Takes a permit unless the wait for it takes longer than `timeout`.
    pub fn acquire_for(&self, timeout: Duration) -> Option<SharedPermit<'_>> {
        let taken = self.state().try_acquire() || self.wait(Some(Deadline::after(timeout)));
        taken.then(|| SharedPermit { semaphore: self })
    }

    /// Adds `n` permits.
    ///
    /// # Panics
    /// If there would be more than 2³¹ − 1.
    pub fn release(&self, n: u32) {
        let released = self.state().release(n);
        assert!(released.is_ok(), "a semaphore was released so often that its count overflowed");
    }

    /// Permits to be had now.
    pub fn permits(&self) -> u32 {
        self.state().permits()
    }

    /// How much it was used, by all processes.
    pub fn statistics(&self) -> Statistics {
        self.state().statistics()
    }

    #[cold]
    fn wait(&self, deadline: Option<Deadline>) -> bool {
        block(self.at.family(), deadline, |waiting| self.state().acquire_slow(waiting))
    }

    #[inline]
    fn state(&self) -> &State {
        self.at.state()
    }
}

impl SharedPermit<'_> {
    /// Keeps the permit for good: the semaphore has one less.
    pub const fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for SharedPermit<'_> {
    #[inline]
    fn drop(&mut self) {
        // A destructor must not panic; permits that overflow are as good as those that do not.
        let _ = self.semaphore.state().release(1);
    }
}

impl Serialize for SharedSemaphore {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.at.travel(), serializer)
    }
}

impl<'de> Deserialize<'de> for SharedSemaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, Located::open).map(|at| Self { at })
    }
}

impl fmt::Debug for SharedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSemaphore").field("permits", &self.permits()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedPermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPermit").finish_non_exhaustive()
    }
}
