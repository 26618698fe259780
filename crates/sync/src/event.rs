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
#[cfg_attr(not(loom), repr(C))]
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
            // Written also if it is set already: a `clear` that comes after it then meets this
            // Release, and who cleared sees what was published before the flag was set.
            let next = if word & SET != 0 {
                word
            } else {
                (word & !WAITED).wrapping_add(ONE_GENERATION) | SET
            };
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
        // Acquire: meets the Release of `set`.
        self.word.fetch_and(!SET, Ordering::Acquire);
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

/// Each model names the change of the code above that it catches.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;
    use manyhands_sys::futex::Private;

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    fn wait(event: &RawEvent<Private>, mut waiting: Waiting<'_>) -> Wait {
        event.wait(event.generation(), None, &mut waiting)
    }

    /// Catches: a set that starts no generation, a wait that looks at the flag only.
    #[test]
    fn a_flag_set_and_cleared_at_once_releases_who_waited() {
        check(|| {
            let event = Arc::new(RawEvent::<Private>::new());
            let generation = event.generation();
            let other = Arc::clone(&event);
            let waiter =
                thread::spawn(move || other.wait(generation, None, &mut Waiting::default()));
            event.set();
            event.clear();
            assert_eq!(waiter.join().unwrap(), Wait::Done);
        });
    }

    /// Catches: sleeping without `WAITED`, a set that wakes one, and Relaxed orderings.
    #[test]
    fn all_waiters_leave_and_see_what_was_published() {
        check(|| {
            let shared = Arc::new((RawEvent::<Private>::new(), UnsafeCell::new(0)));
            let waiters = [(); 2].map(|()| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    assert_eq!(wait(&shared.0, Waiting::default()), Wait::Done);
                    // SAFETY: written before the flag was set; loom reports if it is not so.
                    assert_eq!(shared.1.with(|value| unsafe { *value }), 1);
                })
            });
            // SAFETY: nobody reads before the flag is set.
            shared.1.with_mut(|value| unsafe { *value = 1 });
            shared.0.set();
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
    }

    /// Catches: a wait that clears `WAITED` when it gives up.
    #[test]
    fn who_gives_up_takes_no_wake_up_along() {
        check(|| {
            let event = Arc::new(RawEvent::<Private>::new());
            let (waiter, leaver) = (Arc::clone(&event), Arc::clone(&event));
            let waiter = thread::spawn(move || wait(&waiter, Waiting::default()));
            let leaver = thread::spawn(move || wait(&leaver, Waiting::giving_up_after(0)));
            event.set();
            assert_eq!(waiter.join().unwrap(), Wait::Done);
            let _ = leaver.join().unwrap();
        });
    }

    /// Clear, look, wait; against publish, set. Catches: a set that writes nothing because the
    /// flag is set already, a clear that is not Acquire.
    #[test]
    fn who_clears_before_looking_misses_nothing() {
        check(|| {
            let shared = Arc::new((RawEvent::<Private>::new(), AtomicBool::new(false)));
            shared.0.set();
            let other = Arc::clone(&shared);
            let consumer = thread::spawn(move || {
                other.0.clear();
                while !other.1.load(Ordering::Relaxed) {
                    assert_eq!(wait(&other.0, Waiting::default()), Wait::Done);
                    other.0.clear();
                }
            });
            shared.1.store(true, Ordering::Relaxed);
            shared.0.set();
            consumer.join().unwrap();
        });
    }
}
