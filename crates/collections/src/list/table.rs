//! The section of a list's table: two arrays of record numbers, of which one is the list's order.
//!
//! `state` in the header says which, where in it the list starts, and how long it is. What can be
//! done with one number (a new item at either end, another value, an end cut off) is done in place;
//! for everything else the other array is written, and becomes the order with the one store of
//! `state`.

use manyhands_sys::atomic::{AtomicU32, Ordering};

use crate::core::{Contents, Root};
use crate::table::{Table, Wanted};

/// For the code that a list has in common with a map.
pub(super) enum Items {}

/// Which array, from where, how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) which: u64,
    pub(super) start: u64,
    pub(super) len: u64,
}

/// Room for `n` items and as many again, and the same for their records.
pub(super) fn wanted(n: u64, n_bytes: u64) -> Wanted {
    let capacity = (n * 2).max(16);
    Wanted { capacity, section: capacity * 8, arena: (n_bytes * 2).max(512) }
}

impl State {
    pub(super) fn of(table: &Table) -> Self {
        let word = table.header().state.load(Ordering::Relaxed);
        Self { which: word >> 63, start: word >> 32 & 0x7fff_ffff, len: word & 0xffff_ffff }
    }

    pub(super) const fn word(self) -> u64 {
        self.which << 63 | self.start << 32 | self.len
    }
}

/// A place in one of the arrays.
pub(super) fn place(table: &Table, which: u64, idx: u64) -> &AtomicU32 {
    debug_assert!(idx < table.capacity());
    // SAFETY: the section is two arrays of that many numbers.
    unsafe { table.element(0, which * table.capacity() + idx) }
}

/// The record of an item.
pub(super) fn record_at(table: &Table, idx: u64) -> u32 {
    let state = State::of(table);
    place(table, state.which, state.start + idx).load(Ordering::Relaxed)
}

impl Contents for Items {
    fn for_each_value(table: &Table, f: &mut dyn FnMut(u32)) {
        for idx in 0..State::of(table).len {
            f(record_at(table, idx));
        }
    }

    /// Nothing but the order counts.
    fn derive(_root: &Root, _table: &Table) {}
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn the_three_numbers_of_a_state_fit_one_word() {
        let state = State { which: 1, start: 0x7fff_ffff, len: 0xffff_ffff };
        assert_eq!(state.word(), u64::MAX);
        let state = State { which: 0, start: 3, len: 5 };
        assert_eq!(state.word(), 3 << 32 | 5);
    }
}
