//! A barrier that processes share.
//!
//! The word is `round << 1 | BROKEN`. A round ends by one store to it: the next round (all have
//! come, or it was reset), or `BROKEN`. Each who waits has a place with its party and round; places
//! of other rounds are free, so ending a round empties them all at once. Who decides something does
//! it under `lock`; since every decision is one store there is nothing to mend after a death.
//!
//! | dies… | then |
//! |---|---|
//! | before its place is written | it never came |
//! | waiting | a waiter finds it dead at the end of a slice, and breaks the round |
//! | as the last one, in the action | the same |
//! | after the store, before the wake-up | the others find the round ended at the end of a slice |
//!
//! How a round ended is kept for the last 64 rounds: a waiter that sleeps through more of them may
//! be told that a round which was reset has passed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use manyhands_sys::futex::{Futex, Shared};

use crate::robust::{Parties, RobustLock};
use crate::shared::waiting::Waiting;
use crate::sleep::Wait;

/// A barrier, followed by a place for each party: see [`SharedBarrier::len_for`].
#[repr(C)]
pub struct SharedBarrier {
    lock: RobustLock,
    word: Futex<Shared>,
    n_parties: AtomicU32,
    /// Bit `round % 64`: the round was reset, or broken.
    failed: AtomicU64,
    pads: [AtomicU64; 5],
    places: [AtomicU64; 0],
}

const _: () = assert!(size_of::<SharedBarrier>() == 64);

/// A thread that has come.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    round: u32,
    /// So many came before it in this round.
    pub idx: u32,
    /// All have come: it is this one's to [open](SharedBarrier::open) the barrier.
    pub is_last: bool,
}

/// Why a thread could not come.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    /// The barrier is broken.
    Broken,
    /// All of this round have come, and one runs the action: [wait](SharedBarrier::wait) for its
    /// end, then come again.
    Early(Arrival),
}

/// The barrier is broken, or the round was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

const BROKEN: u32 = 1;

impl SharedBarrier {
    /// Bytes a barrier for so many takes.
    pub const fn len_for(n_parties: u32) -> u64 {
        size_of::<Self>() as u64 + n_parties as u64 * 8
    }

    /// Makes [`len_for`](Self::len_for) zeros a barrier that nobody else knows yet.
    ///
    /// # Safety
    /// Behind it are so many zeros, which belong to it, aligned as it is, for as long as it lives.
    pub unsafe fn set_up(&self, n_parties: u32) {
        self.n_parties.store(n_parties, Ordering::Relaxed);
    }

    /// How many must come.
    pub fn n_parties(&self) -> u32 {
        self.n_parties.load(Ordering::Relaxed)
    }

    /// How many have come.
    pub fn n_waiting(&self) -> u32 {
        let n = self.arrived(self.round()).count() as u32;
        if self.is_broken() || n == self.n_parties() { 0 } else { n }
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.word.load(Ordering::Acquire) & BROKEN != 0
    }

    /// The calling thread has come.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn arrive(&self, parties: &(impl Parties + ?Sized)) -> Result<Arrival, Refused> {
        let _guard = self.decide(parties);
        if self.is_broken() {
            return Err(Refused::Broken);
        }
        let (round, places) = (self.round(), self.places());
        let idx = self.arrived(round).count() as u32;
        let mine = of_round(round);
        let free = places.iter().find(|place| place.load(Ordering::Relaxed) as u32 != mine);
        let Some(place) = free else {
            return Err(Refused::Early(Arrival { round, idx, is_last: false }));
        };
        place.store(u64::from(parties.me()) << 32 | u64::from(mine), Ordering::Relaxed);
        Ok(Arrival { round, idx, is_last: idx + 1 == self.n_parties() })
    }

    /// The last one: lets all go on.
    ///
    /// # Errors
    /// [`Broken`], if the round has failed meanwhile.
    pub fn open(&self, arrival: Arrival, parties: &(impl Parties + ?Sized)) -> Result<(), Broken> {
        let _guard = self.decide(parties);
        if self.word.load(Ordering::Acquire) != arrival.round << 1 {
            return Err(Broken);
        }
        self.end_round(arrival.round, false);
        Ok(())
    }

    /// Sleeps until the round has ended; then ask [`outcome`](Self::outcome).
    pub fn wait(&self, arrival: Arrival, waiting: &mut Waiting<'_>) -> Wait {
        let family = waiting.family();
        loop {
            if self.word.load(Ordering::Acquire) != arrival.round << 1 {
                return Wait::Done;
            }
            let end = waiting.sleep(&self.word, arrival.round << 1).end();
            if waiting.is_time_to_look() {
                self.break_if_dead(arrival.round, family);
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// How the round of `arrival` has ended.
    ///
    /// # Errors
    /// [`Broken`]; also if it has not ended.
    pub fn outcome(&self, arrival: Arrival) -> Result<(), Broken> {
        let word = self.word.load(Ordering::Acquire);
        let failed = self.failed.load(Ordering::Acquire) >> (arrival.round % 64) & 1 != 0;
        if word >> 1 == arrival.round || failed { Err(Broken) } else { Ok(()) }
    }

    /// Breaks the barrier until it is reset.
    pub fn abort(&self, parties: &(impl Parties + ?Sized)) {
        let _guard = self.decide(parties);
        self.break_round(self.round());
    }

    /// Breaks the round of `arrival`, which gives up, if it has not ended.
    pub fn give_up(&self, arrival: Arrival, parties: &(impl Parties + ?Sized)) {
        let _guard = self.decide(parties);
        if self.round() == arrival.round {
            self.break_round(arrival.round);
        }
    }

    /// Begins anew; who waits is told that the barrier is broken.
    pub fn reset(&self, parties: &(impl Parties + ?Sized)) {
        let _guard = self.decide(parties);
        self.end_round(self.round(), true);
    }

    /// Breaks the round if one who waits has died.
    fn break_if_dead(&self, round: u32, parties: &(impl Parties + ?Sized)) {
        let is_dead = |party: u32| party != parties.me() && !parties.is_alive(party);
        if self.arrived(round).any(is_dead) {
            let _guard = self.decide(parties);
            // Those of this round: if it has ended meanwhile they are no concern.
            if self.word.load(Ordering::Acquire) == round << 1 {
                self.break_round(round);
            }
        }
    }

    fn break_round(&self, round: u32) {
        self.word.store(round << 1 | BROKEN, Ordering::Release);
        self.word.wake_all();
    }

    fn end_round(&self, round: u32, has_failed: bool) {
        let bit = 1 << (round % 64);
        // First how it ended, then that it has.
        if has_failed {
            self.failed.fetch_or(bit, Ordering::Release);
        } else {
            self.failed.fetch_and(!bit, Ordering::Release);
        }
        self.word.store(round.wrapping_add(1) << 1, Ordering::Release);
        self.word.wake_all();
    }

    fn round(&self) -> u32 {
        self.word.load(Ordering::Acquire) >> 1
    }

    /// The parties of those who came in a round.
    fn arrived(&self, round: u32) -> impl Iterator<Item = u32> {
        let words = self.places().iter().map(|place| place.load(Ordering::Relaxed));
        words.filter(move |word| *word as u32 == of_round(round)).map(|word| (word >> 32) as u32)
    }

    fn places(&self) -> &[AtomicU64] {
        // SAFETY: `set_up` was told the number of places that lie behind.
        unsafe { std::slice::from_raw_parts(self.places.as_ptr(), self.n_parties() as usize) }
    }

    /// Alone from now on, until the guard is dropped.
    fn decide(&self, parties: &(impl Parties + ?Sized)) -> Guard<'_> {
        // Every decision is one store: a dead one left nothing half-done.
        let _ = self.lock.lock(parties);
        Guard(&self.lock)
    }
}

/// What marks a place of a round: not 0, which an untouched place is.
const fn of_round(round: u32) -> u32 {
    round + 1
}

struct Guard<'a>(&'a RobustLock);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}
