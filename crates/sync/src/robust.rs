//! A lock in shared memory that outlives its owner: for the short critical sections of queues, maps
//! and whatever else several processes change.
//!
//! | word, low half | high half | state | left by |
//! |---|---|---|---|
//! | 0 | 0 | free | lock: compare-and-swap to *held* |
//! | thread | party | held | unlock: swap to *free* |
//! | thread, `WAITED` | party | held, somebody sleeps | unlock: swap to *free*, wake one |
//!
//! Thread and party change together, in one 64-bit word, so there is no moment at which a lock is
//! held by nobody in particular. Who waits looks, in ever longer slices, whether the owner's party
//! still lives; if not, it puts itself in the dead one's place, by one compare-and-swap that only
//! one waiter wins, and is told. What the dead one left half-done is then its to mend.
//!
//! A sleeper that was woken, or that gave up a slice, takes the lock with `WAITED` set, as others
//! may sleep too: at worst a wake-up too many. A waker that dies between the swap and the wake-up
//! costs the sleepers the rest of their slice.
//!
//! What it does not do: it knows no signal and no deadlock, and an owner that is stopped is waited
//! for by all but [`RobustLock::lock_within`]. It is for sections without a wait in them; locks for
//! people are in `shared/`.

use std::time::Duration;

use manyhands_sys::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use manyhands_sys::clock::Deadline;
#[cfg(not(loom))]
use manyhands_sys::futex::{Shared, low_half};
use manyhands_sys::thread_id;

/// A lock that several processes map.
#[cfg_attr(not(loom), repr(transparent))]
pub struct RobustLock {
    word: AtomicU64,
}

/// A thread of a process of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process.
    pub party: u32,
    /// The thread in it, see [`thread_id::me`].
    pub thread: u32,
}

/// The family, as a lock needs to know it.
pub trait Parties {
    /// The calling process; never 0.
    fn me(&self) -> u32;
    /// Whether that process has not ended.
    fn is_alive(&self, party: u32) -> bool;
}

/// How a lock was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Acquired {
    /// Its last owner has given it back.
    Clean,
    /// Its last owner died with it: what it guards may be half-changed.
    AfterDeath(Owner),
}

/// Somebody sleeps for it, or did a moment ago.
const WAITED: u64 = 1 << 31;

/// Tries before the first sleep: the sections are shorter than a sleep.
const N_TRIES: u32 = 60;

/// The first sleep, and the longest between two looks at the owner.
const FIRST_SLICE: Duration = Duration::from_millis(1);
const LAST_SLICE: Duration = Duration::from_millis(50);

impl Owner {
    /// The calling thread of the process that `parties` calls me.
    pub fn current(parties: &(impl Parties + ?Sized)) -> Self {
        Self { party: parties.me(), thread: thread_id::me() }
    }

    const fn of(word: u64) -> Self {
        Self { party: (word >> 32) as u32, thread: (word & (WAITED - 1)) as u32 }
    }

    const fn word(self) -> u64 {
        (self.party as u64) << 32 | self.thread as u64
    }
}

impl RobustLock {
    /// A free lock; so is one of zeros.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// A free lock.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// Takes the lock, sleeping while others have it.
    #[inline]
    pub fn lock(&self, parties: &(impl Parties + ?Sized)) -> Acquired {
        let me = Owner::current(parties);
        // Acquire: meets the Release of `unlock`.
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        match self.word.compare_exchange(0, me.word(), success, failure) {
            Ok(_) => Acquired::Clean,
            Err(_) => self.lock_slow(me, &|party| parties.is_alive(party)),
        }
    }

    /// The same for who can do without the lock; `None`: `patience` was over first.
    #[cfg(not(loom))]
    pub fn lock_within(
        &self,
        parties: &(impl Parties + ?Sized),
        patience: Duration,
    ) -> Option<Acquired> {
        self.try_lock(parties).or_else(|| {
            let deadline = Deadline::after(patience);
            let is_alive = |party| parties.is_alive(party);
            self.lock_slow_until(Owner::current(parties), &is_alive, || deadline.has_passed())
        })
    }

    /// Takes the lock if it is free; `None`: somebody has it, or died with it.
    #[inline]
    pub fn try_lock(&self, parties: &(impl Parties + ?Sized)) -> Option<Acquired> {
        let me = Owner::current(parties).word();
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        self.word.compare_exchange(0, me, success, failure).ok().map(|_| Acquired::Clean)
    }

    /// Gives the lock back. The caller has it.
    #[inline]
    pub fn unlock(&self) {
        // Release: meets the Acquire of `lock`.
        let before = self.word.swap(0, Ordering::Release);
        if before & WAITED != 0 {
            self.wake();
        }
    }

    /// Who has it.
    pub fn owner(&self) -> Option<Owner> {
        let word = self.word.load(Ordering::Relaxed);
        (word != 0).then(|| Owner::of(word))
    }

    #[cold]
    fn lock_slow(&self, me: Owner, is_alive: &dyn Fn(u32) -> bool) -> Acquired {
        self.lock_slow_until(me, is_alive, || false).expect("it is never too late")
    }

    /// `is_late` is asked after each sleep of a whole slice.
    fn lock_slow_until(
        &self,
        me: Owner,
        is_alive: &dyn Fn(u32) -> bool,
        is_late: impl Fn() -> bool,
    ) -> Option<Acquired> {
        let mut mine = me.word();
        let mut n_tries = if cfg!(loom) { N_TRIES } else { 0 };
        let mut slice = FIRST_SLICE;
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if word == 0 {
                // Acquire: meets the Release of `unlock`.
                let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
                if self.word.compare_exchange(0, mine, success, failure).is_ok() {
                    return Some(Acquired::Clean);
                }
                continue;
            }
            if n_tries < N_TRIES {
                n_tries += 1;
                pause();
                continue;
            }
            if word & WAITED == 0 {
                let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
                if self.word.compare_exchange(word, word | WAITED, success, failure).is_err() {
                    continue;
                }
            }
            // From here on others may sleep as well.
            mine |= WAITED;
            if self.sleep(word | WAITED, slice) {
                continue;
            }
            slice = (slice * 2).min(LAST_SLICE);
            let owner = Owner::of(word);
            if owner.party != me.party && !is_alive(owner.party) {
                // Acquire: what the dead one has done before is visible to who mends it.
                let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
                let taken = self.word.compare_exchange(word | WAITED, mine, success, failure);
                if taken.is_ok() {
                    return Some(Acquired::AfterDeath(owner));
                }
            }
            if is_late() {
                return None;
            }
        }
    }
}

#[cfg(not(loom))]
impl RobustLock {
    /// Sleeps while the word is `expected`; false if the slice is over.
    fn sleep(&self, expected: u64, slice: Duration) -> bool {
        use manyhands_sys::futex::WaitEnd;
        let end =
            low_half::<Shared>(&self.word).wait(expected as u32, Some(Deadline::after(slice)));
        end != WaitEnd::TimedOut
    }

    #[cold]
    fn wake(&self) {
        low_half::<Shared>(&self.word).wake_one();
    }
}

#[cfg(not(loom))]
fn pause() {
    std::hint::spin_loop();
}

/// Under loom nobody sleeps: a slice ends at once, and every look finds what the model says.
#[cfg(loom)]
impl RobustLock {
    fn sleep(&self, _expected: u64, _slice: Duration) -> bool {
        loom::thread::yield_now();
        false
    }

    fn wake(&self) {}
}

#[cfg(loom)]
fn pause() {
    loom::thread::yield_now();
}

impl Default for RobustLock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Party 1 asks; party 9 is dead.
    struct Family;

    impl Parties for Family {
        fn me(&self) -> u32 {
            1
        }

        fn is_alive(&self, party: u32) -> bool {
            party != 9
        }
    }

    fn held_by(party: u32) -> RobustLock {
        RobustLock { word: AtomicU64::new(Owner { party, thread: 7 }.word()) }
    }

    #[test]
    fn who_can_do_without_the_lock_does_not_wait_for_an_owner_that_is_stopped() {
        let lock = held_by(2);
        assert_eq!(lock.lock_within(&Family, Duration::from_millis(5)), None);
        assert_eq!(lock.owner(), Some(Owner { party: 2, thread: 7 }));
        // It goes on, and gives the lock back.
        lock.unlock();
        assert_eq!(lock.lock_within(&Family, Duration::ZERO), Some(Acquired::Clean));
    }

    #[test]
    fn who_can_do_without_the_lock_takes_it_from_a_dead_owner() {
        let lock = held_by(9);
        let after = Acquired::AfterDeath(Owner { party: 9, thread: 7 });
        assert_eq!(lock.lock_within(&Family, Duration::from_secs(60)), Some(after));
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A family of which party 9 is dead. The parties of a model are numbered by their threads.
    struct Family(u32);

    impl Parties for Family {
        fn me(&self) -> u32 {
            self.0
        }

        fn is_alive(&self, party: u32) -> bool {
            party != 9
        }
    }

    struct Guarded {
        lock: RobustLock,
        n: UnsafeCell<u32>,
    }

    impl Guarded {
        fn new(word: u64) -> Arc<Self> {
            let lock = RobustLock { word: AtomicU64::new(word) };
            Arc::new(Self { lock, n: UnsafeCell::new(0) })
        }

        fn count(&self, party: u32) -> Acquired {
            let acquired = self.lock.lock(&Family(party));
            // SAFETY: this thread has the lock; loom reports if another is here too.
            self.n.with_mut(|n| unsafe { *n += 1 });
            self.lock.unlock();
            acquired
        }
    }

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(model);
    }

    /// Catches: a Relaxed swap in `unlock`, a Relaxed success of a lock.
    #[test]
    fn one_thread_at_a_time_is_inside() {
        check(|| {
            let guarded = Guarded::new(0);
            let other = Arc::clone(&guarded);
            let thread = thread::spawn(move || other.count(2));
            assert_eq!(guarded.count(1), Acquired::Clean);
            assert_eq!(thread.join().unwrap(), Acquired::Clean);
        });
    }

    /// Catches: taking over by a store; taking over what was read before the sleep without
    /// `WAITED`.
    #[test]
    fn a_dead_owner_is_followed_by_exactly_one_who_is_told() {
        check(|| {
            let dead = Owner { party: 9, thread: 7 };
            let guarded = Guarded::new(dead.word());
            let other = Arc::clone(&guarded);
            let thread = thread::spawn(move || other.count(2));
            let mine = guarded.count(1);
            let others = thread.join().unwrap();
            assert_ne!(mine == Acquired::AfterDeath(dead), others == Acquired::AfterDeath(dead));
        });
    }
}
