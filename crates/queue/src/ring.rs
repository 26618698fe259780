//! A bounded first-in first-out store without a lock: Dmitry Vyukov's array queue.
//!
//! Head and tail are *positions*: a lap number above an index. Every slot has a *stamp*, which
//! says what may happen to it next:
//!
//! ```text
//!   stamp == p            the item of position p may be written here
//!   stamp == p + 1        it is written, and may be read
//!   stamp == p + lap      it was read: position p of the next lap may be written
//! ```
//!
//! A thread claims a position with a compare-and-swap on head or tail and publishes what it did
//! there by its slot's stamp. The highest bit of the tail says that the ring is closed, so that a
//! claim and a close cannot both succeed.
//!
//! Guarantees: items leave in the order in which their positions were claimed; nobody waits for
//! room or for an item; empty, full and closed are answers that were true at one instant of the
//! call.
//!
//! What it does not do: a thread that loses the processor between claim and stamp makes those who
//! come to the same slot wait for it; they sleep on the stamp meanwhile.

use std::mem::MaybeUninit;

use manyhands_sys::atomic::{AtomicU64, Ordering};

use crate::outcome::{Nothing, Refused};
use crate::stamp::{Patience, Stamp, number};
use crate::store::Store;

#[cfg(loom)]
use loom::cell::UnsafeCell;
#[cfg(not(loom))]
use unchecked::UnsafeCell;

const CLOSED: u64 = 1 << 63;

/// At most `maxsize` items, for which the room is reserved.
pub struct Ring<T> {
    /// The position of the next item to be read.
    head: Padded<AtomicU64>,
    /// The position of the next item to be written, and [`CLOSED`].
    tail: Padded<AtomicU64>,
    slots: Box<[Slot<T>]>,
    /// What one lap adds to a position: a power of two above every index, so that `p + 1` and
    /// `p + lap` differ also in a ring of one slot.
    lap: u64,
}

struct Slot<T> {
    stamp: Stamp,
    item: UnsafeCell<MaybeUninit<T>>,
}

/// On cache lines of its own, so that putters and getters do not slow each other down. Two lines,
/// because processors fetch them in pairs.
#[repr(align(128))]
struct Padded<V>(V);

// SAFETY: a slot's item is touched only by the thread that claimed its position, between the claim
// and the stamp that ends it; stamps are stored with Release and loaded with Acquire.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: the items may be sent, and nothing else here belongs to a thread.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T> Ring<T> {
    /// An empty ring.
    ///
    /// # Panics
    /// If `maxsize` is zero: such a ring could take nothing.
    pub fn new(maxsize: usize) -> Self {
        assert!(maxsize > 0, "a ring needs room for at least one item");
        let new_slot =
            |index| Slot { stamp: Stamp::new(index), item: UnsafeCell::new(MaybeUninit::uninit()) };
        Self {
            head: Padded(AtomicU64::new(0)),
            tail: Padded(AtomicU64::new(0)),
            slots: (0..maxsize as u64).map(new_slot).collect(),
            lap: (maxsize as u64 + 1).next_power_of_two(),
        }
    }

    #[inline]
    fn slot(&self, position: u64) -> &Slot<T> {
        let index = (position & (self.lap - 1)) as usize;
        // SAFETY: positions come from 0 by `after`, which never makes an index beyond the slots.
        unsafe { self.slots.get_unchecked(index) }
    }

    /// The position behind `position`.
    #[inline]
    fn after(&self, position: u64) -> u64 {
        if (position & (self.lap - 1)) + 1 < self.slots.len() as u64 {
            position + 1
        } else {
            (position & !(self.lap - 1)).wrapping_add(self.lap) & !CLOSED
        }
    }

    /// How many positions there are before `position`.
    fn count(&self, position: u64) -> u64 {
        let (lap_number, index) = (position / self.lap, position & (self.lap - 1));
        lap_number * self.slots.len() as u64 + index
    }
}

impl<T: Send> Store<T> for Ring<T> {
    #[inline]
    fn push(&self, item: T) -> Result<(), Refused<T>> {
        let mut patience = Patience::new();
        let mut tail = self.tail.0.load(Ordering::Relaxed);
        loop {
            if tail & CLOSED != 0 {
                return Err(Refused::ShutDown(item));
            }
            let slot = self.slot(tail);
            // Meets the Release in `pop`: the item of the lap before has been read.
            let stamp = slot.stamp.load();
            if stamp == tail {
                // Sequentially consistent, as the store owes it to the lines of sleepers.
                let claim = (Ordering::SeqCst, Ordering::Relaxed);
                match self.tail.0.compare_exchange_weak(tail, self.after(tail), claim.0, claim.1) {
                    Ok(_) => {
                        // SAFETY: the position is ours, and the slot's item was read or never was.
                        slot.item.with_mut(|at| unsafe { (*at).write(item) });
                        // Meets the Acquire in `pop`.
                        slot.stamp.publish(tail + 1);
                        return Ok(());
                    }
                    Err(now) => {
                        tail = now;
                        continue;
                    }
                }
            }
            if number(stamp) + self.lap == tail + 1 {
                if self.head.0.load(Ordering::SeqCst) + self.lap == tail {
                    // The head cannot be a whole lap behind a tail that has moved on meanwhile:
                    // both were so when the head was read.
                    return Err(Refused::Full(item));
                }
                // A getter is about to free the slot.
                patience.wait(&slot.stamp, stamp);
            } else {
                // Another putter was faster.
                patience.pause();
            }
            tail = self.tail.0.load(Ordering::Relaxed);
        }
    }

    #[inline]
    fn pop(&self) -> Result<T, Nothing> {
        let mut patience = Patience::new();
        let mut head = self.head.0.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(head);
            // Meets the Release in `push`: the item has been written.
            let stamp = slot.stamp.load();
            if stamp == head + 1 {
                let claim = (Ordering::SeqCst, Ordering::Relaxed);
                match self.head.0.compare_exchange_weak(head, self.after(head), claim.0, claim.1) {
                    Ok(_) => {
                        // SAFETY: the position is ours, and its item was written.
                        let item = slot.item.with_mut(|at| unsafe { (*at).assume_init_read() });
                        // Meets the Acquire in `push`.
                        slot.stamp.publish(head.wrapping_add(self.lap) & !CLOSED);
                        return Ok(item);
                    }
                    Err(now) => {
                        head = now;
                        continue;
                    }
                }
            }
            if number(stamp) == head {
                let tail = self.tail.0.load(Ordering::SeqCst);
                if tail == head {
                    return Err(Nothing::Empty);
                }
                if tail == head | CLOSED {
                    return Err(Nothing::ShutDown);
                }
                // A putter is about to write the item.
                patience.wait(&slot.stamp, stamp);
            } else {
                // Another getter was faster.
                patience.pause();
            }
            head = self.head.0.load(Ordering::Relaxed);
        }
    }

    fn close(&self) -> bool {
        self.tail.0.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    fn is_closed(&self) -> bool {
        self.tail.0.load(Ordering::SeqCst) & CLOSED != 0
    }

    fn len(&self) -> usize {
        loop {
            let tail = self.tail.0.load(Ordering::SeqCst);
            let head = self.head.0.load(Ordering::SeqCst);
            if self.tail.0.load(Ordering::SeqCst) == tail {
                return (self.count(tail & !CLOSED) - self.count(head)) as usize;
            }
        }
    }

    fn maxsize(&self) -> usize {
        self.slots.len()
    }

    fn n_pushed(&self) -> u64 {
        self.count(self.tail.0.load(Ordering::SeqCst) & !CLOSED)
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let tail = self.tail.0.load(Ordering::Relaxed) & !CLOSED;
        let mut head = self.head.0.load(Ordering::Relaxed);
        while head != tail {
            // SAFETY: nobody else is here, and what lies between head and tail was written.
            self.slot(head).item.with_mut(|at| unsafe { (*at).assume_init_drop() });
            head = self.after(head);
        }
    }
}

/// The cell that loom would check, with nothing to check.
#[cfg(not(loom))]
mod unchecked {
    pub struct UnsafeCell<V>(std::cell::UnsafeCell<V>);

    impl<V> UnsafeCell<V> {
        pub const fn new(value: V) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut V) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_ring_of_one_slot_alternates_between_full_and_empty() {
        let ring = Ring::new(1);
        for item in 0..5 {
            assert_eq!(ring.pop(), Err(Nothing::Empty));
            assert_eq!(ring.push(item), Ok(()));
            assert_eq!(ring.push(9), Err(Refused::Full(9)));
            assert_eq!(ring.len(), 1);
            assert_eq!(ring.pop(), Ok(item));
        }
        assert_eq!(ring.n_pushed(), 5);
    }

    /// What a putter has done that was interrupted between its claim and its stamp.
    fn claim_the_first_position(ring: &Ring<u32>) {
        ring.tail.0.store(ring.after(0), Ordering::SeqCst);
    }

    #[test]
    fn a_getter_sleeps_while_the_item_it_comes_for_is_being_written() {
        let ring = Arc::new(Ring::new(2));
        claim_the_first_position(&ring);
        let getter = Arc::clone(&ring);
        let getter = std::thread::spawn(move || getter.pop());
        let slot = ring.slot(0);
        while slot.stamp.load() == 0 {
            std::hint::spin_loop();
        }
        // It is marked, and still the number of a slot that nobody else may write or read.
        assert_eq!(number(slot.stamp.load()), 0);
        // SAFETY: the claim above is this thread's.
        slot.item.with_mut(|at| unsafe { (*at).write(7) });
        slot.stamp.publish(1);
        assert_eq!(getter.join().unwrap(), Ok(7));
        assert_eq!(ring.push(8), Ok(()));
        assert_eq!(ring.pop(), Ok(8));
    }

    #[test]
    fn a_putter_sleeps_while_the_item_in_its_place_is_being_read() {
        let ring = Arc::new(Ring::new(1));
        ring.push(1).unwrap();
        // A getter that was interrupted between its claim and its stamp.
        ring.head.0.store(ring.after(0), Ordering::SeqCst);
        let putter = Arc::clone(&ring);
        let putter = std::thread::spawn(move || putter.push(2));
        let slot = ring.slot(0);
        while slot.stamp.load() == 1 {
            std::hint::spin_loop();
        }
        assert_eq!(number(slot.stamp.load()), 1);
        slot.stamp.publish(ring.lap);
        assert_eq!(putter.join().unwrap(), Ok(()));
        assert_eq!(ring.pop(), Ok(2));
    }

    #[test]
    fn what_is_still_in_a_dropped_ring_is_dropped_with_it() {
        let item = Arc::new(());
        let ring = Ring::new(3);
        for _ in 0..3 {
            ring.push(Arc::clone(&item)).unwrap();
        }
        drop(ring.pop());
        ring.push(Arc::clone(&item)).unwrap();
        ring.close();
        drop(ring);
        assert_eq!(Arc::strong_count(&item), 1);
    }
}
