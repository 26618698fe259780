//! The stamp of a ring's slot: a number that says what may happen to the slot next, and the word on
//! which those sleep who wait until the thread that is at work on the slot has moved it on.
//!
//! | word | meaning | left by |
//! |---|---|---|
//! | n | nobody sleeps | `publish`: a store |
//! | n, `WAITED` | somebody sleeps, or is about to | `publish`: a store, and all are woken |
//!
//! Only who claimed the slot's position publishes, and only one thread at a time has it, so a word
//! is never published twice. `WAITED` is set by a compare-and-swap, so it never lands on a number
//! that its setter has not seen.
//!
//! Who publishes looks for `WAITED` before it stores and not in the same step: that step would cost
//! every push and pop what only a thread needs that was interrupted in between. If `WAITED` is set
//! just between the two, nobody is woken. A sleep is therefore cut into slices.
//!
//! What it does not do: it knows no deadline and no signal, since a thread at work on a slot waits
//! for nothing itself.

#[cfg(not(loom))]
use std::time::Duration;

use manyhands_sync::spin::Backoff;
use manyhands_sys::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use manyhands_sys::clock::Deadline;
#[cfg(not(loom))]
use manyhands_sys::futex::{Private, low_half};

/// See the table above.
pub(crate) struct Stamp {
    word: AtomicU64,
}

/// How one operation waits for those at work on the slots it comes to.
pub(crate) struct Patience {
    backoff: Backoff,
    #[cfg(not(loom))]
    slice: Duration,
}

/// Above every number.
const WAITED: u64 = 1 << 63;

/// The first sleep, and the longest between two looks.
#[cfg(not(loom))]
const FIRST_SLICE: Duration = Duration::from_micros(100);
#[cfg(not(loom))]
const LAST_SLICE: Duration = Duration::from_millis(20);

/// The number in a word that [`Stamp::load`] gave. Where nobody sleeps it is the word itself.
#[inline]
pub(crate) const fn number(word: u64) -> u64 {
    word & !WAITED
}

impl Stamp {
    pub(crate) fn new(number: u64) -> Self {
        Self { word: AtomicU64::new(number) }
    }

    /// What it is now. Meets the Release of `publish`.
    #[inline]
    pub(crate) fn load(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    /// Moves it to `next`. The caller has claimed the slot's position.
    #[inline]
    pub(crate) fn publish(&self, next: u64) {
        let before = self.word.load(Ordering::Relaxed);
        // Release: meets the Acquire of `load`.
        #[cfg(not(loom))]
        self.word.store(next, Ordering::Release);
        // loom does not see that nothing comes between what a compare-and-swap reads and writes:
        // by it, `WAITED` could be set behind a store that it was set before.
        #[cfg(loom)]
        self.word.swap(next, Ordering::Release);
        if before & WAITED != 0 {
            self.wake();
        }
    }
}

impl Patience {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            backoff: Backoff::new(),
            #[cfg(not(loom))]
            slice: FIRST_SLICE,
        }
    }

    /// Pauses a moment for threads that were faster.
    #[inline]
    pub(crate) fn pause(&mut self) {
        self.backoff.pause();
    }

    /// Waits a while for the stamp to be moved on from `word`: first awake, then asleep.
    #[cold]
    pub(crate) fn wait(&mut self, stamp: &Stamp, word: u64) {
        if cfg!(not(loom)) && !self.backoff.is_over() {
            return self.backoff.pause();
        }
        let waited = word | WAITED;
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let mark = || stamp.word.compare_exchange(word, waited, success, failure);
        let marked = if word == waited { Ok(word) } else { mark() };
        match marked {
            Ok(_) => self.sleep(stamp, waited),
            // Another waiter has marked it.
            Err(now) if now == waited => self.sleep(stamp, waited),
            // It has moved: to be seen by the next load.
            Err(_) => self.backoff.pause(),
        }
    }
}

#[cfg(not(loom))]
impl Stamp {
    #[cold]
    fn wake(&self) {
        low_half::<Private>(&self.word).wake_all();
    }
}

#[cfg(not(loom))]
impl Patience {
    fn sleep(&mut self, stamp: &Stamp, waited: u64) {
        let until = Some(Deadline::after(self.slice));
        low_half::<Private>(&stamp.word).wait(waited as u32, until);
        self.slice = (self.slice * 2).min(LAST_SLICE);
    }
}

/// Under loom nobody sleeps: a slice ends at once.
#[cfg(loom)]
impl Stamp {
    fn wake(&self) {}
}

#[cfg(loom)]
impl Patience {
    fn sleep(&mut self, _stamp: &Stamp, _waited: u64) {
        self.backoff.pause();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Waits until somebody has said that it sleeps on `stamp`.
    fn somebody_waits(stamp: &Stamp) {
        while number(stamp.load()) == stamp.load() {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn who_waits_for_a_thread_in_the_middle_of_a_slot_sleeps_until_the_stamp_moves() {
        let stamp = Arc::new(Stamp::new(7));
        let theirs = Arc::clone(&stamp);
        let waiter = std::thread::spawn(move || {
            let mut patience = Patience::new();
            while number(theirs.load()) == 7 {
                patience.wait(&theirs, theirs.load());
            }
            theirs.load()
        });
        somebody_waits(&stamp);
        stamp.publish(8);
        // Nobody sleeps on the new number.
        assert_eq!(waiter.join().unwrap(), 8);
    }

    #[test]
    fn who_comes_late_to_a_stamp_that_has_moved_does_not_mark_it() {
        let stamp = Stamp::new(7);
        stamp.publish(8);
        let mut patience = Patience::new();
        while !patience.backoff.is_over() {
            patience.wait(&stamp, 7);
        }
        patience.wait(&stamp, 7);
        assert_eq!(stamp.load(), 8);
    }
}
