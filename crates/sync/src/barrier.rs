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
