//! A point at which a fixed number of threads wait for each other, again and again.
//!
//! Each round is a [`Round`] of its own, shared by those who wait in it: *filling* until the last
//! one has arrived and run the action, then *passed*, or *broken*. A round that has ended stays as
//! it is, so a slow leaver is not confused by the next round.

use std::sync::Arc;

use manyhands_sys::atomic::{Mutex, MutexGuard, Ordering};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Private};

use crate::sleep::{Wait, Waiting, sleep};

/// A barrier without an action: the caller runs it.
pub struct RawBarrier {
    parties: u32,
    inner: Mutex<Inner>,
}

struct Inner {
    round: Arc<Round>,
    n_waiting: u32,
    is_broken: bool,
}

/// One filling of the barrier.
pub struct Round {
    word: Futex<Private>,
}

/// What an arrival means.
pub enum Arrival {
    /// Others are missing: wait in this round. The number counts the arrivals before.
    Early(u32, Arc<Round>),
    /// All are here: run the action, then [`RawBarrier::pass`] or [`RawBarrier::abort`].
    Last(Arc<Round>),
    /// The barrier is broken.
    Broken,
}

const FILLING: u32 = 0;
const PASSED: u32 = 1;
const BROKEN: u32 = 2;

impl RawBarrier {
    /// For so many threads, at least one.
    pub fn new(parties: u32) -> Self {
        let inner = Inner { round: Round::new(), n_waiting: 0, is_broken: false };
        Self { parties, inner: Mutex::new(inner) }
    }

    /// The calling thread is here.
    pub fn arrive(&self) -> Arrival {
        let mut inner = self.inner();
        if inner.is_broken {
            return Arrival::Broken;
        }
        let idx = inner.n_waiting;
        if idx + 1 < self.parties {
            inner.n_waiting += 1;
            return Arrival::Early(idx, Arc::clone(&inner.round));
        }
        inner.n_waiting = 0;
        Arrival::Last(std::mem::replace(&mut inner.round, Round::new()))
    }

    /// The last one lets the round pass. False: it was broken meanwhile.
    pub fn pass(&self, round: &Round) -> bool {
        round.end(PASSED)
    }

    /// Breaks the barrier: who waits, in `round` too, and who comes, is told.
    pub fn abort(&self, round: Option<&Round>) {
        let mut inner = self.inner();
        inner.is_broken = true;
        inner.n_waiting = 0;
        inner.round.end(BROKEN);
        drop(inner);
        if let Some(round) = round {
            round.end(BROKEN);
        }
    }

    /// A waiter gives up without breaking the barrier. False: its round has ended.
    pub fn leave(&self, round: &Arc<Round>) -> bool {
        let mut inner = self.inner();
        let is_filling = Arc::ptr_eq(&inner.round, round) && round.is_filling();
        if is_filling {
            inner.n_waiting -= 1;
        }
        is_filling
    }

    /// Starts afresh: who waits is told that the barrier is broken, who comes is not.
    pub fn reset(&self) {
        let mut inner = self.inner();
        inner.round.end(BROKEN);
        *inner = Inner { round: Round::new(), n_waiting: 0, is_broken: false };
    }

    /// How many it is for.
    pub const fn parties(&self) -> u32 {
        self.parties
    }

    /// How many wait now.
    pub fn n_waiting(&self) -> u32 {
        self.inner().n_waiting
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.inner().is_broken
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Round {
    fn new() -> Arc<Self> {
        Arc::new(Self { word: Futex::new(FILLING) })
    }

    fn is_filling(&self) -> bool {
        self.word.load(Ordering::Acquire) == FILLING
    }

    fn end(&self, how: u32) -> bool {
        // Release: meets the Acquire of `wait`.
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        let ended = self.word.compare_exchange(FILLING, how, success, failure).is_ok();
        if ended {
            self.word.wake_all();
        }
        ended
    }

    /// Sleeps until the round has ended; then [`Round::has_passed`] tells how.
    pub fn wait(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        loop {
            if !self.is_filling() {
                return Wait::Done;
            }
            if let Some(end) = sleep(&self.word, FILLING, deadline, waiting).end() {
                return end;
            }
        }
    }

    /// Whether all have arrived, and the action has run.
    pub fn has_passed(&self) -> bool {
        self.word.load(Ordering::Acquire) == PASSED
    }
}

/// Each model names the change of the code above that it catches.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc as Shared;
    use loom::thread;

    /// Arrives and waits; `None`: broken. True: it was the last.
    fn meet(barrier: &RawBarrier) -> Option<bool> {
        match barrier.arrive() {
            Arrival::Early(_, round) => {
                assert_eq!(round.wait(None, &mut Waiting::default()), Wait::Done);
                round.has_passed().then_some(false)
            }
            Arrival::Last(round) => barrier.pass(&round).then_some(true),
            Arrival::Broken => None,
        }
    }

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    /// Catches: a round that ends without waking, or wakes one; a round that is used again.
    #[test]
    fn all_pass_and_one_of_them_was_the_last() {
        check(|| {
            let barrier = Shared::new(RawBarrier::new(3));
            let others = [(); 2].map(|()| {
                let barrier = Shared::clone(&barrier);
                thread::spawn(move || meet(&barrier).unwrap())
            });
            let was_last = meet(&barrier).unwrap();
            let n_last = others.map(|other| u32::from(other.join().unwrap()));
            assert_eq!(u32::from(was_last) + n_last.iter().sum::<u32>(), 1);
            assert_eq!(barrier.n_waiting(), 0);
        });
    }

    /// Catches: a slow leaver that counts in the next round.
    #[test]
    fn two_rounds_of_two_do_not_mix() {
        check(|| {
            let barrier = Shared::new(RawBarrier::new(2));
            let other = Shared::clone(&barrier);
            let thread = thread::spawn(move || [meet(&other).unwrap(), meet(&other).unwrap()]);
            let mine = [meet(&barrier).unwrap(), meet(&barrier).unwrap()];
            let others = thread.join().unwrap();
            assert_ne!(mine[0], others[0]);
            assert_ne!(mine[1], others[1]);
        });
    }

    /// Catches: a broken round that wakes nobody, a barrier that forgets that it is broken.
    #[test]
    fn a_broken_barrier_tells_who_waits_and_who_comes() {
        check(|| {
            let barrier = Shared::new(RawBarrier::new(2));
            let other = Shared::clone(&barrier);
            let thread = thread::spawn(move || meet(&other));
            barrier.abort(None);
            assert_eq!(thread.join().unwrap(), None);
            assert_eq!(meet(&barrier), None);
            assert!(barrier.is_broken());
        });
    }

    /// Catches: a `leave` that counts down although the round has ended.
    #[test]
    fn who_leaves_has_either_left_or_passed() {
        check(|| {
            let barrier = Shared::new(RawBarrier::new(2));
            let Arrival::Early(_, round) = barrier.arrive() else {
                unreachable!("two are missing")
            };
            let other = Shared::clone(&barrier);
            let thread = thread::spawn(move || match other.arrive() {
                Arrival::Last(round) => other.pass(&round),
                _ => false,
            });
            let has_left = barrier.leave(&round);
            assert_ne!(has_left, thread.join().unwrap());
            assert_eq!(barrier.n_waiting(), u32::from(has_left));
        });
    }
}
