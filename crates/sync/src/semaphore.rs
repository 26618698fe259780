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

use manyhands_sys::atomic::{AtomicBool, AtomicU32, Ordering, order_for_loom};
use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::futex::{Futex, Scope};
use manyhands_sys::thread_id;

use crate::sleep::{Wait, Waiting, sleep};
use crate::statistics::Counters;

/// A counting semaphore.
#[cfg_attr(not(loom), repr(C))]
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
        order_for_loom();
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
        // Before the permit is there for others: whoever takes it next is the last taker then.
        let taker = self.last_taker.swap(0, Ordering::Relaxed);
        loop {
            let Some(more) = permits.checked_add(n).filter(|more| *more <= limit) else {
                self.last_taker.store(taker, Ordering::Relaxed);
                return Err(TooMany);
            };
            let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
            match self.permits.compare_exchange_weak(permits, more, success, failure) {
                Ok(_) => break,
                Err(now) => permits = now,
            }
        }
        if taker != thread_id::me() {
            self.by_stranger.store(true, Ordering::Relaxed);
        }
        order_for_loom();
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

/// Each model names the change of the code above that it catches.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;
    use manyhands_sys::futex::Private;

    fn acquire(semaphore: &RawSemaphore<Private>, mut waiting: Waiting<'_>) -> bool {
        semaphore.try_acquire() || semaphore.acquire_slow(None, &mut waiting) == Wait::Done
    }

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    /// Catches: counting oneself after the last look (or not at all), looking for sleepers before
    /// the permit is there, waking one for two permits.
    #[test]
    fn two_permits_at_once_release_two_sleepers() {
        check(|| {
            let semaphore = Arc::new(RawSemaphore::<Private>::new(0));
            let takers = [(); 2].map(|()| {
                let semaphore = Arc::clone(&semaphore);
                thread::spawn(move || assert!(acquire(&semaphore, Waiting::default())))
            });
            semaphore.release(2, MAX_PERMITS).unwrap();
            takers.into_iter().for_each(|taker| taker.join().unwrap());
            assert_eq!(semaphore.permits(), 0);
        });
    }

    /// Catches: a sleeper that leaves after a wake-up without having looked at the permits.
    #[test]
    fn who_gives_up_takes_no_wake_up_along() {
        check(|| {
            let semaphore = Arc::new(RawSemaphore::<Private>::new(0));
            let (stayer, leaver) = (Arc::clone(&semaphore), Arc::clone(&semaphore));
            let stayer = thread::spawn(move || {
                assert!(acquire(&stayer, Waiting::default()));
                stayer.release(1, MAX_PERMITS).unwrap();
            });
            let leaver = thread::spawn(move || {
                if acquire(&leaver, Waiting::giving_up_after(1)) {
                    leaver.release(1, MAX_PERMITS).unwrap();
                }
            });
            semaphore.release(1, MAX_PERMITS).unwrap();
            stayer.join().unwrap();
            leaver.join().unwrap();
            assert_eq!((semaphore.permits(), semaphore.n_sleepers.load(Ordering::Relaxed)), (1, 0));
        });
    }

    /// Catches: Relaxed orderings of the permits.
    #[test]
    fn one_permit_keeps_threads_apart() {
        struct Counted(RawSemaphore<Private>, UnsafeCell<u32>);
        fn count(counted: &Counted) {
            assert!(acquire(&counted.0, Waiting::default()));
            // SAFETY: this thread has the only permit; loom reports if another is here too.
            counted.1.with_mut(|n| unsafe { *n += 1 });
            counted.0.release(1, 1).unwrap();
        }
        check(|| {
            let counted = Arc::new(Counted(RawSemaphore::new(1), UnsafeCell::new(0)));
            let other = Arc::clone(&counted);
            let thread = thread::spawn(move || count(&other));
            count(&counted);
            thread.join().unwrap();
        });
    }
}
