//! The word of a lock that processes share: who holds it, how, and whether somebody sleeps for it.
//!
//! | low half | high half | state | left by |
//! |---|---|---|---|
//! | 0 | 0 | free | take: compare-and-swap to *held* |
//! | thread, maybe `SCOPED` | party | held | release: swap to *free* |
//! | the same with `WAITED` | party | held, somebody sleeps | release: swap to *free*, wake one |
//! | any of a dead party | party | orphaned | the next owner: compare-and-swap to *held* |
//!
//! As [`RobustLock`](crate::robust::RobustLock), plus what [`lock`](crate::lock) has for people:
//! the `SCOPED` bit, and a release by anybody. How one sleeps is the caller's to say.

use manyhands_sys::atomic::{AtomicU64, Ordering};

use crate::lock::Hold;
use crate::robust::Owner;

/// Who holds a lock.
#[cfg_attr(not(loom), repr(transparent))]
pub struct LockWord {
    word: AtomicU64,
}

/// What a sleep for the word has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look<E> {
    /// Look at the word again.
    Again,
    /// Look whether the owner lives as well.
    AtOwner,
    /// Give up.
    Leave(E),
    /// Time is up: give up, unless the owner is dead.
    LookAndLeave(E),
}

/// The holder's program releases it at the end of a block.
const SCOPED: u64 = 1 << 30;
/// Somebody sleeps for it, or did a moment ago.
const WAITED: u64 = 1 << 31;
const THREAD: u64 = SCOPED - 1;

impl LockWord {
    /// Free; so is one of zeros.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_take(&self, me: Owner, hold: Hold) -> bool {
        // Acquire: meets the Release of `release`.
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        self.word.compare_exchange(0, held(me, hold), success, failure).is_ok()
    }

    /// The same for a thread that may have slept on this word already, see [`LockWord::adopt`].
    pub fn try_take_after_sleep(&self, me: Owner, hold: Hold) -> bool {
        self.swap_if(0, held(me, hold) | WAITED, Ordering::Acquire)
    }

    /// Takes the lock, calling `sleep` with the value to sleep on while others have it. `Some`:
    /// from an owner that died with it.
    ///
    /// # Errors
    /// What `sleep` left with.
    pub fn take<E>(
        &self,
        me: Owner,
        hold: Hold,
        is_alive: impl Fn(u32) -> bool,
        sleep: impl FnMut(&AtomicU64, u64) -> Look<E>,
    ) -> Result<Option<Owner>, E> {
        self.take_as(held(me, hold), me, is_alive, sleep)
    }

    /// The same for a thread that may have slept on this word already, see [`LockWord::adopt`].
    ///
    /// # Errors
    /// What `sleep` left with.
    pub fn take_after_sleep<E>(
        &self,
        me: Owner,
        hold: Hold,
        is_alive: impl Fn(u32) -> bool,
        sleep: impl FnMut(&AtomicU64, u64) -> Look<E>,
    ) -> Result<Option<Owner>, E> {
        // Others may sleep behind it.
        self.take_as(held(me, hold) | WAITED, me, is_alive, sleep)
    }

    fn take_as<E>(
        &self,
        mut mine: u64,
        me: Owner,
        is_alive: impl Fn(u32) -> bool,
        mut sleep: impl FnMut(&AtomicU64, u64) -> Look<E>,
    ) -> Result<Option<Owner>, E> {
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if word == 0 {
                // Acquire: meets the Release of `release`.
                if self.swap_if(0, mine, Ordering::Acquire) {
                    return Ok(None);
                }
                continue;
            }
            let waited = word | WAITED;
            if word != waited && !self.swap_if(word, waited, Ordering::Relaxed) {
                continue;
            }
            // From here on others may sleep as well, and this thread may be the one woken.
            mine |= WAITED;
            let end = match sleep(&self.word, waited) {
                Look::Again => continue,
                Look::Leave(end) => return Err(end),
                Look::AtOwner => None,
                Look::LookAndLeave(end) => Some(end),
            };
            let owner = owner(waited);
            // Acquire: what the dead one did is visible to who comes after it.
            let is_orphan = owner.party != me.party && !is_alive(owner.party);
            if is_orphan && self.swap_if(waited, mine, Ordering::Acquire) {
                return Ok(Some(owner));
            }
            if let Some(end) = end {
                return Err(end);
            }
        }
    }

    /// Gives the lock back, whoever has it. Who had it; true: somebody is to be woken.
    #[inline]
    pub fn release(&self) -> (Option<Owner>, bool) {
        // Release: meets the Acquire of `take`.
        let word = self.word.swap(0, Ordering::Release);
        ((word != 0).then(|| owner(word)), word & WAITED != 0)
    }

    /// Who has it.
    #[inline]
    pub fn owner(&self) -> Option<Owner> {
        let word = self.word.load(Ordering::Relaxed);
        (word != 0).then(|| owner(word))
    }

    /// Whether its owner's program gives it back at the end of a block.
    pub fn is_scoped(&self) -> bool {
        self.word.load(Ordering::Relaxed) & SCOPED != 0
    }

    /// Wakes one who sleeps for it.
    #[cfg(not(loom))]
    #[cold]
    pub fn wake_one(&self) {
        manyhands_sys::futex::low_half::<manyhands_sys::futex::Shared>(&self.word).wake_one();
    }

    /// Makes who sleeps on `sleeper`, if anybody, sleep for this lock from now on: it must take it
    /// by [`LockWord::take_after_sleep`]. False: `me` does not have the lock, so nothing was done.
    #[cfg(not(loom))]
    pub fn adopt(
        &self,
        me: Owner,
        sleeper: &manyhands_sys::futex::Futex<manyhands_sys::futex::Shared>,
    ) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        // First the bit, so that the release after this call wakes somebody.
        let is_mine = word != 0
            && owner(word) == me
            && (word & WAITED != 0 || self.swap_if(word, word | WAITED, Ordering::Relaxed));
        if is_mine {
            sleeper.requeue_one(manyhands_sys::futex::low_half(&self.word));
        }
        is_mine
    }

    fn swap_if(&self, from: u64, to: u64, success: Ordering) -> bool {
        self.word.compare_exchange(from, to, success, Ordering::Relaxed).is_ok()
    }
}

#[cfg(not(loom))]
impl Default for LockWord {
    fn default() -> Self {
        Self::new()
    }
}

fn held(me: Owner, hold: Hold) -> u64 {
    let scoped = if hold == Hold::Scoped { SCOPED } else { 0 };
    u64::from(me.party) << 32 | u64::from(me.thread) | scoped
}

fn owner(word: u64) -> Owner {
    Owner { party: (word >> 32) as u32, thread: (word & THREAD) as u32 }
}

/// Each model names the change of the code above that it catches.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// Party 9 is dead.
    const DEAD: Owner = Owner { party: 9, thread: 7 };

    struct Guarded {
        word: LockWord,
        n: UnsafeCell<u32>,
    }

    impl Guarded {
        fn new(word: u64) -> Arc<Self> {
            let word = LockWord { word: AtomicU64::new(word) };
            Arc::new(Self { word, n: UnsafeCell::new(0) })
        }

        fn count(&self, party: u32) -> Option<Owner> {
            let me = Owner { party, thread: 1 };
            let sleep = |_: &AtomicU64, _| {
                thread::yield_now();
                Look::<()>::AtOwner
            };
            let dead = match self.word.try_take(me, Hold::Open) {
                true => None,
                false => self.word.take(me, Hold::Scoped, |party| party != 9, sleep).unwrap(),
            };
            // SAFETY: this thread has the lock; loom reports if another is here too.
            self.n.with_mut(|n| unsafe { *n += 1 });
            assert_eq!(self.word.release().0, Some(me));
            dead
        }
    }

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(model);
    }

    /// Catches: a Relaxed swap in `release`, a Relaxed success of a take.
    #[test]
    fn one_thread_at_a_time_is_inside() {
        check(|| {
            let guarded = Guarded::new(0);
            let other = Arc::clone(&guarded);
            let thread = thread::spawn(move || other.count(2));
            assert_eq!(guarded.count(1), None);
            assert_eq!(thread.join().unwrap(), None);
        });
    }

    /// Catches: taking over by a store.
    #[test]
    fn one_owner_follows_a_dead_one_and_is_told() {
        check(|| {
            let guarded = Guarded::new(held(DEAD, Hold::Open));
            let other = Arc::clone(&guarded);
            let thread = thread::spawn(move || other.count(2));
            let mine = guarded.count(1);
            assert_ne!(mine == Some(DEAD), thread.join().unwrap() == Some(DEAD));
        });
    }

    /// Catches: taking over without `WAITED`, or leaving it out after a sleep.
    #[test]
    fn who_takes_after_a_sleep_wakes_somebody() {
        check(|| {
            let guarded = Guarded::new(held(DEAD, Hold::Open) | WAITED);
            let me = Owner { party: 1, thread: 1 };
            let sleep = |_: &AtomicU64, _| Look::<()>::AtOwner;
            let dead = guarded.word.take(me, Hold::Open, |party| party != 9, sleep);
            assert_eq!(dead, Ok(Some(DEAD)));
            assert!(guarded.word.release().1);
        });
    }
}
