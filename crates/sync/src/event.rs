//! A flag to wait for.
//!
//! The word is `generation << 2 | WAITED | SET`. Each set starts a new generation. A waiter leaves
//! when the flag is set *or* the generation has changed since it came: one that was asleep when the
//! flag was set is released even if it is cleared at once.

use manyhands_sys::atomic::Ordering;
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Scope};

use crate::sleep::{Wait, Waiting, sleep};

/// A flag that threads wait for.
pub struct RawEvent<S: Scope> {
    word: Futex<S>,
}

const SET: u32 = 1;
/// Somebody sleeps.
const WAITED: u32 = 2;
const ONE_GENERATION: u32 = 4;

impl<S: Scope> RawEvent<S> {
    /// Not set.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { word: Futex::new(0) }
    }

    /// Not set.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { word: Futex::new(0) }
    }

    /// Whether it is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        // Acquire: meets the Release of `set`.
        self.word.load(Ordering::Acquire) & SET != 0
    }

    /// Sets it and releases all waiters.
    #[inline]
    pub fn set(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & SET != 0 {
                return;
            }
            let next = (word & !WAITED).wrapping_add(ONE_GENERATION) | SET;
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            match self.word.compare_exchange_weak(word, next, success, failure) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if word & WAITED != 0 {
            self.word.wake_all();
        }
    }

    /// Clears it.
    #[inline]
    pub fn clear(&self) {
        self.word.fetch_and(!SET, Ordering::Relaxed);
    }

    /// What [`RawEvent::wait`] compares with: taken once, before the first call of one wait.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.word.load(Ordering::Relaxed) / ONE_GENERATION
    }

    /// Sleeps until it is set, or was since `generation`.
    pub fn wait(
        &self,
        generation: u32,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
    ) -> Wait {
        loop {
            let word = self.word.load(Ordering::Acquire);
            if word & SET != 0 || word / ONE_GENERATION != generation {
                return Wait::Done;
            }
            let waited = word | WAITED;
            if word != waited {
                let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
                if self.word.compare_exchange(word, waited, success, failure).is_err() {
                    continue;
                }
            }
            if let Some(end) = sleep(&self.word, waited, deadline, waiting).end() {
                return end;
            }
        }
    }
}

impl<S: Scope> Default for RawEvent<S> {
    fn default() -> Self {
        Self::new()
    }
}
