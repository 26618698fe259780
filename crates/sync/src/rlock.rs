//! A lock that its owner may take again.
//!
//! The depth is the owner's alone to read and write, so it needs no synchronization of its own.
//! Only the owner may release: that is what makes waits for it sure to be the owner's to end.

use manyhands_sys::atomic::{AtomicU32, Ordering};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Scope;

use crate::lock::{Hold, RawLock};
use crate::overflow::Overflow;
use crate::sleep::{Wait, Waiting};

/// A reentrant lock without data.
pub struct RawRLock<S: Scope> {
    /// The lock below.
    pub lock: RawLock<S>,
    depth: AtomicU32,
}

/// The calling thread does not own the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwner;

impl<S: Scope> RawRLock<S> {
    /// A free lock.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { lock: RawLock::new(), depth: AtomicU32::new(0) }
    }

    /// Takes the lock if it is free or the caller's.
    ///
    /// # Errors
    /// [`Overflow`]: the caller has it as often as can be counted.
    #[inline]
    pub fn try_lock(&self) -> Result<bool, Overflow> {
        if self.lock.try_lock(Hold::Scoped) {
            self.depth.store(1, Ordering::Relaxed);
            return Ok(true);
        }
        let is_mine = self.lock.is_mine();
        if is_mine {
            let depth = self.depth.load(Ordering::Relaxed).checked_add(1).ok_or(Overflow)?;
            self.depth.store(depth, Ordering::Relaxed);
            self.lock.counters.acquired();
        }
        Ok(is_mine)
    }

    /// Takes the lock, which somebody else holds.
    pub fn lock_slow(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        let wait = self.lock.lock_slow(Hold::Scoped, deadline, waiting);
        if wait == Wait::Done {
            self.depth.store(1, Ordering::Relaxed);
        }
        wait
    }

    /// Undoes one acquisition.
    ///
    /// # Errors
    /// [`NotOwner`] if the lock is free or another thread's.
    #[inline]
    pub fn unlock(&self) -> Result<(), NotOwner> {
        if !self.lock.is_mine() {
            return Err(NotOwner);
        }
        let depth = self.depth.load(Ordering::Relaxed);
        self.depth.store(depth.saturating_sub(1), Ordering::Relaxed);
        if depth <= 1 {
            let _ = self.lock.unlock();
        }
        Ok(())
    }

    /// Undoes all acquisitions and returns how many there were.
    ///
    /// # Errors
    /// [`NotOwner`] if the lock is free or another thread's.
    pub fn unlock_all(&self) -> Result<u32, NotOwner> {
        if !self.lock.is_mine() {
            return Err(NotOwner);
        }
        let depth = self.depth.swap(0, Ordering::Relaxed);
        let _ = self.lock.unlock();
        Ok(depth)
    }

    /// Owner: as if acquired so many times.
    pub fn set_depth(&self, depth: u32) {
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// How often the calling thread has taken it.
    pub fn my_depth(&self) -> u32 {
        if self.lock.is_mine() { self.depth() } else { 0 }
    }

    /// How often its owner has taken it.
    pub fn depth(&self) -> u32 {
        if self.lock.is_locked() { self.depth.load(Ordering::Relaxed) } else { 0 }
    }
}

#[cfg(not(loom))]
impl<S: Scope> Default for RawRLock<S> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use manyhands_sys::futex::Private;

    #[test]
    fn a_depth_that_cannot_be_counted_is_refused_and_the_lock_is_kept() {
        let lock = RawRLock::<Private>::new();
        assert_eq!(lock.try_lock(), Ok(true));
        lock.set_depth(u32::MAX - 1);
        assert_eq!(lock.try_lock(), Ok(true));
        assert_eq!(lock.try_lock(), Err(Overflow));
        assert_eq!(lock.my_depth(), u32::MAX);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| lock.try_lock());
            assert_eq!(other.join().unwrap(), Ok(false));
        });
        assert_eq!(lock.unlock(), Ok(()));
        assert_eq!(lock.try_lock(), Ok(true));
    }
}
