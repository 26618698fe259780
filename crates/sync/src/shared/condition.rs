//! The waiters of a condition that processes share: a place for each, in the order they came.
//!
//! | word of a place | state | left by |
//! |---|---|---|
//! | 0 | free | its waiter: compare-and-swap to *waiting* |
//! | `WAITING`, serial, party | somebody waits | a notification, the waiter itself, or (dead) whoever finds it |
//! | `NOTIFIED`, serial, party | was notified | the waiter; if it is dead, whoever needs the place |
//!
//! A notification is one compare-and-swap from *waiting* to *notified*, giving up one to *free*: so
//! each notification goes to exactly one waiter that is there. The tickets that order the waiters
//! are written before the word, and under the lock of the condition.
//! A waiter whose process ended takes no notification with it, if that was noticed; dies it with
//! one it is as if it had died just after.
//!
//! A notified sleeper is not woken at once, which would only have it wait for the lock: the kernel
//! moves it to the lock's word, and the release wakes it.
//!
//! Who notifies and is killed before it wakes the sleeper costs the sleeper the rest of its slice.

use std::sync::atomic::{AtomicU64, Ordering};

use manyhands_sys::futex::{Shared, low_half};

use crate::robust::{Owner, Parties};
use crate::shared::lock::SharedLock;
use crate::shared::waiting::Waiting;
use crate::sleep::Wait;

/// The waiters of one condition. Zeros are an empty row.
#[repr(C)]
pub struct WaiterRow {
    next_ticket: AtomicU64,
    /// No place at or beyond this one was ever taken.
    n_touched: AtomicU64,
    places: [Place; MAX_WAITERS],
}

#[derive(Debug)]
#[repr(C)]
struct Place {
    word: AtomicU64,
    ticket: AtomicU64,
}

/// So many may wait at once.
pub const MAX_WAITERS: usize = 2040;

const _: () = assert!(size_of::<WaiterRow>() <= 32 * 1024 - 64);

/// There are [`MAX_WAITERS`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A thread's place in the row.
#[derive(Debug)]
pub struct Waiter<'a> {
    place: &'a Place,
    waiting: u64,
}

const WAITING: u64 = 1;
const NOTIFIED: u64 = 2;
const STATE: u64 = 3;

impl WaiterRow {
    /// The calling thread, which has the lock of the condition, begins to wait.
    ///
    /// # Errors
    /// [`Full`]
    pub fn enter(&self, parties: &(impl Parties + ?Sized)) -> Result<Waiter<'_>, Full> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed) + 1;
        let low = (ticket << 2) & u64::from(u32::MAX) | WAITING;
        let waiting = u64::from(parties.me()) << 32 | low;
        let claim = |idx: usize| {
            let place = &self.places[idx];
            self.n_touched.fetch_max(idx as u64 + 1, Ordering::Relaxed);
            place.ticket.store(ticket, Ordering::Relaxed);
            // Release: who reads the word reads this ticket.
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            place.word.compare_exchange(0, waiting, success, failure).ok()?;
            Some(Waiter { place, waiting })
        };
        let free = |idx: &usize| self.places[*idx].word.load(Ordering::Relaxed) == 0;
        if let Some(waiter) = (0..MAX_WAITERS).filter(free).find_map(claim) {
            return Ok(waiter);
        }
        self.sweep(parties);
        (0..MAX_WAITERS).filter(free).find_map(claim).ok_or(Full)
    }

    /// Notifies the `n` who have waited longest, of those that live. How many there were.
    ///
    /// `held`: the lock of the condition, which the caller has, and the caller. Who is notified
    /// sleeps on until it can be had; else each is woken at once.
    pub fn notify(
        &self,
        n: usize,
        parties: &(impl Parties + ?Sized),
        held: Option<(&SharedLock, Owner)>,
    ) -> usize {
        let mut waiters: Vec<(u64, u64, &Place)> = self.waiting().collect();
        waiters.sort_unstable_by_key(|(ticket, ..)| *ticket);
        let mut n_notified = 0;
        for (_, word, place) in waiters {
            if n_notified == n {
                break;
            }
            let party = (word >> 32) as u32;
            let is_alive = party == parties.me() || parties.is_alive(party);
            let next = if is_alive { word & !STATE | NOTIFIED } else { 0 };
            // AcqRel: what was done before the notification is visible to who is notified.
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            // Else it has given up just now.
            let is_there = place.word.compare_exchange(word, next, success, failure).is_ok();
            if is_there && is_alive {
                let sleeper = low_half::<Shared>(&place.word);
                if !held.is_some_and(|(lock, me)| lock.adopt(me, sleeper)) {
                    sleeper.wake_one();
                }
                n_notified += 1;
            }
        }
        n_notified
    }

    /// How many wait, some of whom may be dead.
    pub fn n_waiting(&self) -> usize {
        self.waiting().count()
    }

    /// Ticket, word and place of all who wait.
    fn waiting(&self) -> impl Iterator<Item = (u64, u64, &Place)> {
        self.touched().filter_map(|place| {
            // Acquire: meets the Release of `enter`.
            let word = place.word.load(Ordering::Acquire);
            let is_waiting = word & STATE == WAITING;
            is_waiting.then(|| (place.ticket.load(Ordering::Relaxed), word, place))
        })
    }

    fn touched(&self) -> impl Iterator<Item = &Place> {
        let n = (self.n_touched.load(Ordering::Relaxed) as usize).min(MAX_WAITERS);
        self.places[..n].iter()
    }

    /// Frees the places of the dead.
    fn sweep(&self, parties: &(impl Parties + ?Sized)) {
        for place in self.touched() {
            let word = place.word.load(Ordering::Relaxed);
            let party = (word >> 32) as u32;
            if word != 0 && party != parties.me() && !parties.is_alive(party) {
                let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
                let _ = place.word.compare_exchange(word, 0, success, failure);
            }
        }
    }
}

impl Waiter<'_> {
    /// Sleeps until notified.
    pub fn wait(&self, waiting: &mut Waiting<'_>) -> Wait {
        loop {
            if self.is_notified() {
                return Wait::Done;
            }
            let word = low_half::<Shared>(&self.place.word);
            if let Some(end) = waiting.sleep(word, self.waiting as u32).end() {
                return end;
            }
        }
    }

    /// Leaves the row; true: notified, perhaps at the last moment.
    pub fn leave(self) -> bool {
        let (success, failure) = (Ordering::Relaxed, Ordering::Acquire);
        let gave_up = self.place.word.compare_exchange(self.waiting, 0, success, failure).is_ok();
        if !gave_up {
            self.place.word.store(0, Ordering::Relaxed);
        }
        !gave_up
    }

    fn is_notified(&self) -> bool {
        // Acquire: meets the Release of `notify`.
        self.place.word.load(Ordering::Acquire) != self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Party 9 is dead.
    struct Family(u32);

    impl Parties for Family {
        fn me(&self) -> u32 {
            self.0
        }

        fn is_alive(&self, party: u32) -> bool {
            party != 9
        }
    }

    /// Notifies `n` as party 1.
    fn notify(row: &WaiterRow, n: usize) -> usize {
        row.notify(n, &Family(1), Some((&SharedLock::new(true), Owner { party: 1, thread: 1 })))
    }

    fn empty() -> Box<WaiterRow> {
        // SAFETY: zeros are an empty row.
        unsafe { Box::new(std::mem::zeroed()) }
    }

    #[test]
    fn who_came_first_is_notified_first() {
        let row = empty();
        let first = row.enter(&Family(1)).unwrap();
        let second = row.enter(&Family(2)).unwrap();
        assert_eq!(notify(&row, 1), 1);
        assert!(first.leave());
        // Takes the place in front of the second.
        let third = row.enter(&Family(1)).unwrap();
        assert_eq!(notify(&row, 1), 1);
        assert!(second.leave());
        assert!(!third.leave());
        assert_eq!(notify(&row, 1), 0);
    }

    #[test]
    fn the_dead_take_no_notification() {
        let row = empty();
        let _dead = row.enter(&Family(9)).unwrap();
        let living = row.enter(&Family(2)).unwrap();
        assert_eq!(notify(&row, 1), 1);
        assert!(living.leave());
        assert_eq!(row.n_waiting(), 0);
    }

    #[test]
    fn the_places_of_the_dead_are_given_again() {
        let row = empty();
        let mut dead = Vec::new();
        for _ in 0..MAX_WAITERS - 1 {
            dead.push(row.enter(&Family(9)).unwrap());
        }
        let _living = row.enter(&Family(2)).unwrap();
        let next = row.enter(&Family(1)).unwrap();
        assert_eq!(row.n_waiting(), 2);
        let all: Vec<_> = (0..MAX_WAITERS - 2).map(|_| row.enter(&Family(1)).unwrap()).collect();
        assert_eq!(row.enter(&Family(1)).unwrap_err(), Full);
        drop((next, all));
    }
}
