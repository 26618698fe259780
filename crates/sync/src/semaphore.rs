//! A number of permits.
//!
//! | word | meaning |
//! |---|---|
//! | `permits` | how many can be taken at once; only ever lowered from above 0 |
//! | `n_sleepers` | threads that sleep, or are about to |
//!
//! A sleeper counts itself, *then* looks at the permits a last time; a release adds permits, *then*
//! looks for sleepers. With both in one total order (SeqCst) one of them sees the other. A woken
//! thread that finds the permit gone (barging) sleeps again.

use manyhands_sys::atomic::{AtomicBool, AtomicU32, Ordering};
use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::futex::{Futex, Scope};
use manyhands_sys::thread_id;

use crate::sleep::{Wait, Waiting, sleep};
use crate::statistics::Counters;

/// A counting semaphore.
pub struct RawSemaphore<S: Scope> {
    permits: Futex<S>,
    n_sleepers: AtomicU32,
    /// Who took a permit last; 0: who released.
    last_taker: AtomicU32,
    /// Released by another thread than the one that acquired last, at least once.
    by_stranger: AtomicBool,
    /// What has happened so far.
    pub counters: Counters,
}

/// A release would have made more permits than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// The most permits there can be.
pub const MAX_PERMITS: u32 = u32::MAX / 2;

impl<S: Scope> RawSemaphore<S> {
    /// So many permits, at most [`MAX_PERMITS`].
    #[cfg(not(loom))]
    pub const fn new(permits: u32) -> Self {
        Self {
            permits: Futex::new(permits),
            n_sleepers: AtomicU32::new(0),
            last_taker: AtomicU32::new(0),
            by_stranger: AtomicBool::new(false),
            counters: Counters::new(),
        }
    }

    /// So many permits.
    #[cfg(loom)]
    pub fn new(permits: u32) -> Self {
        Self {
            permits: Futex::new(permits),
            n_sleepers: AtomicU32::new(0),
            last_taker: AtomicU32::new(0),
            by_stranger: AtomicBool::new(false),
            counters: Counters::new(),
        }
    }

    /// Takes a permit if there is one.
    #[inline]
    pub fn try_acquire(&self) -> bool {
        let mut permits = self.permits.load(Ordering::SeqCst);
        while permits > 0 {
            // Acquire: meets the Release of `release`.
            let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
            match self.permits.compare_exchange_weak(permits, permits - 1, success, failure) {
                Ok(_) => {
                    self.last_taker.store(thread_id::me(), Ordering::Relaxed);
                    self.counters.acquired();
                    return true;
                }
                Err(now) => permits = now,
            }
        }
        false
    }

    /// Takes a permit, sleeping while there is none.
    #[cold]
    pub fn acquire_slow(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        let since_ns = monotonic_ns();
        self.n_sleepers.fetch_add(1, Ordering::SeqCst);
        if waiting.begins() {
            self.counters.contended();
        }
        let wait = loop {
            if self.try_acquire() {
                break Wait::Done;
            }
            if let Some(end) = sleep(&self.permits, 0, deadline, waiting).end() {
                break end;
            }
        };
        self.n_sleepers.fetch_sub(1, Ordering::SeqCst);
        self.counters.waited(monotonic_ns() - since_ns);
        wait
    }

    /// Gives `n` permits back; there will be at most `limit`.
    ///
    /// # Errors
    /// [`TooMany`] if there would be more; then nothing has changed.
    #[inline]
    pub fn release(&self, n: u32, limit: u32) -> Result<(), TooMany> {
        let mut permits = self.permits.load(Ordering::SeqCst);
        loop {
            let more = permits.checked_add(n).filter(|more| *more <= limit).ok_or(TooMany)?;
            let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
            match self.permits.compare_exchange_weak(permits, more, success, failure) {
                Ok(_) => break,
                Err(now) => permits = now,
            }
        }
        let taker = self.last_taker.swap(0, Ordering::Relaxed);
        if taker != thread_id::me() {
            self.by_stranger.store(true, Ordering::Relaxed);
        }
        if self.n_sleepers.load(Ordering::SeqCst) > 0 {
            self.wake(n);
        }
        Ok(())
    }

    #[cold]
    fn wake(&self, n: u32) {
        if n == 1 {
            self.permits.wake_one();
        } else {
            self.permits.wake_all();
        }
    }

    /// Permits to be had now.
    pub fn permits(&self) -> u32 {
        self.permits.load(Ordering::Relaxed)
    }

    /// The thread that took the last permit; 0: there are some, or nobody knows.
    pub fn last_taker(&self) -> u32 {
        if self.permits() > 0 { 0 } else { self.last_taker.load(Ordering::Relaxed) }
    }

    /// Whether it is a signal between threads rather than a lock, as far as was seen.
    pub fn is_signal(&self) -> bool {
        self.by_stranger.load(Ordering::Relaxed)
    }

    /// In a forked child, or at construction: so many permits, and nobody waits.
    pub fn reset(&self, permits: u32) {
        self.permits.store(permits, Ordering::Relaxed);
        self.n_sleepers.store(0, Ordering::Relaxed);
    }
}
