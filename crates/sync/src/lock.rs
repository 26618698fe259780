//! The word of a lock: who holds it, and whether somebody sleeps for it.
//!
//! | state | word | left by |
//! |---|---|---|
//! | free | 0 | acquire: compare-and-swap to *held* |
//! | held | owner's thread id, maybe `SCOPED` | release: swap to *free* |
//! | held, waited for | the same with `WAITED` | release: swap to *free*, wake one sleeper |
//!
//! A waiter sets `WAITED` before it sleeps. One that has slept acquires with `WAITED` set, as
//! others may sleep too: it wakes one of them, at worst nobody, when it releases. A sleeper that
//! was woken never leaves without either the lock or `WAITED` set again, so no wake-up is lost.
//!
//! Fairness: a release wakes the longest sleeper but does not hand the lock over; a running thread
//! may take it first (*barging*), which is what keeps a busy lock fast.
//!
//! Any thread may release, as `threading.Lock` allows. Whether that ever happened is remembered
//! ([`RawLock::certainty`]): deadlock detection must know whether the owner is the only one to wait
//! for.

use manyhands_sys::atomic::{AtomicBool, Ordering};
use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::futex::{Futex, Scope};
use manyhands_sys::thread_id;

use crate::sleep::{Wait, Waiting, sleep};
use crate::statistics::Counters;

/// A mutual exclusion lock without data.
#[cfg_attr(not(loom), repr(C))]
pub struct RawLock<S: Scope> {
    word: Futex<S>,
    /// Released by somebody else, at least once.
    by_stranger: AtomicBool,
    /// What has happened so far.
    pub counters: Counters,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Until whoever releases it.
    Open,
    /// Until a block of the owner's program ends.
    Scoped,
}

/// The lock was not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

/// The holder's program releases it at the end of a block.
const SCOPED: u32 = 1 << 30;
/// Somebody sleeps for it, or did a moment ago.
const WAITED: u32 = 1 << 31;
const OWNER: u32 = SCOPED - 1;

impl<S: Scope> RawLock<S> {
    /// A free lock.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { word: Futex::new(0), by_stranger: AtomicBool::new(false), counters: Counters::new() }
    }

    /// A free lock.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { word: Futex::new(0), by_stranger: AtomicBool::new(false), counters: Counters::new() }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self, hold: Hold) -> bool {
        let held = thread_id::me() | hold.bits();
        // Acquire: meets the Release of `unlock`.
        let taken = self.word.compare_exchange(0, held, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_ok() {
            self.counters.acquired();
        }
        taken.is_ok()
    }

    /// Takes the lock, sleeping while others hold it.
    #[cold]
    pub fn lock_slow(
        &self,
        hold: Hold,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
    ) -> Wait {
        // Without WAITED until this thread has slept.
        self.lock_as(thread_id::me() | hold.bits(), deadline, waiting)
    }

    /// The same for a thread that may have slept on this lock already, see [`RawLock::adopt`].
    pub fn lock_after_sleep(&self, hold: Hold, waiting: &mut Waiting<'_>) -> Wait {
        self.lock_as(thread_id::me() | hold.bits() | WAITED, None, waiting)
    }

    /// Owner: who sleeps on `sleeper`, if anybody, sleeps for this lock from now on, and must take
    /// it by [`RawLock::lock_after_sleep`], as others may sleep behind it.
    pub fn adopt(&self, sleeper: &Futex<S>) {
        // First the bit, so that the release after this call wakes somebody.
        self.word.fetch_or(WAITED, Ordering::Relaxed);
        sleeper.requeue_one(&self.word);
    }

    fn lock_as(
        &self,
        mut held: u32,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
    ) -> Wait {
        let mut since_ns = 0;
        let wait = loop {
            let word = self.word.load(Ordering::Relaxed);
            if word & OWNER == 0 {
                // Acquire: meets the Release of `unlock`.
                let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
                if self.word.compare_exchange(word, held, success, failure).is_ok() {
                    self.counters.acquired();
                    break Wait::Done;
                }
                continue;
            }
            let waited = word | WAITED;
            if word != waited {
                let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
                if self.word.compare_exchange(word, waited, success, failure).is_err() {
                    continue;
                }
            }
            if since_ns == 0 {
                since_ns = monotonic_ns();
                if waiting.begins() {
                    self.counters.contended();
                }
            }
            held |= WAITED;
            if let Some(end) = sleep(&self.word, waited, deadline, waiting).end() {
                break end;
            }
        };
        if since_ns != 0 {
            self.counters.waited(monotonic_ns() - since_ns);
        }
        wait
    }

    /// Releases the lock, whoever holds it.
    ///
    /// # Errors
    /// [`NotHeld`] if nobody does.
    #[inline]
    pub fn unlock(&self) -> Result<(), NotHeld> {
        // Release: meets the Acquire of `try_lock` and `lock_slow`.
        let word = self.word.swap(0, Ordering::Release);
        if word & OWNER != thread_id::me() {
            if word == 0 {
                return Err(NotHeld);
            }
            self.by_stranger.store(true, Ordering::Relaxed);
        }
        if word & WAITED != 0 {
            self.word.wake_one();
        }
        Ok(())
    }

    /// The thread that took it; 0: it is free.
    #[inline]
    pub fn owner(&self) -> u32 {
        self.word.load(Ordering::Relaxed) & OWNER
    }

    /// Whether the calling thread took it.
    #[inline]
    pub fn is_mine(&self) -> bool {
        self.owner() == thread_id::me()
    }

    /// Whether somebody holds it.
    pub fn is_locked(&self) -> bool {
        self.owner() != 0
    }

    /// In a forked child: the holder is not here.
    pub fn reset(&self) {
        self.word.store(0, Ordering::Relaxed);
    }
}

#[cfg(not(loom))]
impl<S: Scope> RawLock<S> {
    /// How sure it is that only the owner will release it.
    pub fn certainty(&self) -> crate::deadlock::Certainty {
        use crate::deadlock::Certainty;
        if self.word.load(Ordering::Relaxed) & SCOPED != 0 {
            return Certainty::Sure;
        }
        match self.by_stranger.load(Ordering::Relaxed) {
            true => Certainty::Unsure,
            false => Certainty::Likely,
        }
    }
}

impl<S: Scope> Default for RawLock<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl Hold {
    const fn bits(self) -> u32 {
        match self {
            Self::Open => 0,
            Self::Scoped => SCOPED,
        }
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

    /// A lock around a number that loom watches for two threads at once.
    struct Counted {
        lock: RawLock<Private>,
        n: UnsafeCell<u32>,
    }

    impl Counted {
        fn new() -> Arc<Self> {
            Arc::new(Self { lock: RawLock::new(), n: UnsafeCell::new(0) })
        }

        /// Takes the lock, counts, and gives it back; false: it gave up.
        fn count(&self, mut waiting: Waiting<'_>) -> bool {
            let taken = self.lock.try_lock(Hold::Open)
                || self.lock.lock_slow(Hold::Open, None, &mut waiting) == Wait::Done;
            if taken {
                // SAFETY: this thread has the lock; loom reports if another is here too.
                self.n.with_mut(|n| unsafe { *n += 1 });
                self.lock.unlock().unwrap();
            }
            taken
        }
    }

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    /// Catches: a Relaxed swap in `unlock`, a Relaxed success in `try_lock` or `lock_slow`.
    #[test]
    fn one_thread_at_a_time_is_inside() {
        check(|| {
            let counted = Counted::new();
            let other = Arc::clone(&counted);
            let thread = thread::spawn(move || other.count(Waiting::default()));
            assert!(counted.count(Waiting::default()));
            assert!(thread.join().unwrap());
            // SAFETY: the other thread has ended.
            assert_eq!(counted.n.with(|n| unsafe { *n }), 2);
        });
    }

    /// Catches: a sleeper that takes the lock without `WAITED`; sleeping without setting it.
    #[test]
    fn of_three_threads_none_is_left_asleep() {
        check(|| {
            let counted = Counted::new();
            let others = [(); 2].map(|()| {
                let other = Arc::clone(&counted);
                thread::spawn(move || assert!(other.count(Waiting::default())))
            });
            assert!(counted.count(Waiting::default()));
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }

    /// Catches: a woken sleeper that leaves without having looked at the lock again, as it would
    /// if `sleep` preferred an interrupt to a wake-up.
    #[test]
    fn who_gives_up_after_a_wake_up_leaves_none_asleep() {
        check(|| {
            let counted = Counted::new();
            let (other, leaver) = (Arc::clone(&counted), Arc::clone(&counted));
            let other = thread::spawn(move || assert!(other.count(Waiting::default())));
            let leaver = thread::spawn(move || leaver.count(Waiting::giving_up_after(1)));
            assert!(counted.count(Waiting::default()));
            other.join().unwrap();
            leaver.join().unwrap();
            assert!(!counted.lock.is_locked());
        });
    }
}
