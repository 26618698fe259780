//! The section of a map's table: entries in the order in which their keys came, and an index of
//! them.
//!
//! ```text
//! entries: capacity × {hash, value, key}     index: n_slots × entry number + 1 (u32)
//! ```
//! `state` in the header is the number of entries in use. An entry is there if it is below that and
//! its value is not 0: so a key comes with the store of `state`, goes and changes with that of
//! `value`. The index is open addressing with linear steps; a slot that names an entry beyond
//! `state` or one that is gone is only passed. It is derived: made anew after a death.

use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::core::{Contents, Root};
use crate::table::{Table, Wanted};

/// One key.
#[repr(C)]
pub(super) struct Entry {
    pub(super) hash: AtomicU64,
    /// The record of the value; 0: the key is gone.
    pub(super) value: AtomicU64,
    /// The record of the key.
    pub(super) key: AtomicU32,
    _unused: u32,
}

const ENTRY_LEN: u64 = 24;

/// A slot whose key is gone, with others behind it.
const PASSED: u32 = u32::MAX;

const _: () = assert!(size_of::<Entry>() as u64 == ENTRY_LEN);

/// For the code that a list has in common with a map.
pub(super) enum Entries {}

/// Room for `n_live` keys and as many again, and the same for their records.
pub(super) fn wanted(n_live: u64, n_bytes: u64) -> Wanted {
    let capacity = (n_live * 2).max(16).next_multiple_of(8);
    let section = capacity * ENTRY_LEN + n_slots(capacity) * 4;
    Wanted { capacity, section, arena: (n_bytes * 2).max(1024) }
}

/// Slots of the index: at most half of them are in use.
fn n_slots(capacity: u64) -> u64 {
    (capacity * 2).next_power_of_two()
}

pub(super) fn entry(table: &Table, idx: u64) -> &Entry {
    debug_assert!(idx < table.capacity());
    // SAFETY: the section starts with that many entries.
    unsafe { table.element(0, idx) }
}

fn slot(table: &Table, idx: u64) -> &AtomicU32 {
    // SAFETY: the index follows the entries, and `idx` was cut to its length.
    unsafe { table.element(table.capacity() * ENTRY_LEN, idx) }
}

/// Entries in use, with those that are gone.
pub(super) fn n_used(table: &Table) -> u64 {
    table.header().state.load(Ordering::Relaxed)
}

/// The entry of a key.
pub(super) fn find(table: &Table, hash: u64, key: &[u8]) -> Option<u64> {
    let (mask, n_used) = (n_slots(table.capacity()) - 1, n_used(table));
    let mut at = hash & mask;
    loop {
        let number = u64::from(slot(table, at).load(Ordering::Relaxed));
        if number == 0 {
            return None;
        }
        if number <= n_used {
            let entry = entry(table, number - 1);
            let is_it = entry.hash.load(Ordering::Relaxed) == hash
                && entry.value.load(Ordering::Relaxed) != 0
                && table.record(entry.key.load(Ordering::Relaxed)).key().0 == key;
            if is_it {
                return Some(number - 1);
            }
        }
        at = (at + 1) & mask;
    }
}

/// Enters `idx` in the index.
pub(super) fn add_to_index(table: &Table, hash: u64, idx: u64) {
    let mask = n_slots(table.capacity()) - 1;
    let mut at = hash & mask;
    while slot(table, at).load(Ordering::Relaxed) != 0 {
        at = (at + 1) & mask;
    }
    slot(table, at).store(idx as u32 + 1, Ordering::Relaxed);
    table.header().n_filled.fetch_add(1, Ordering::Relaxed);
}

/// Whether look-ups would become long: slots of keys that are gone count, too.
pub(super) fn is_index_full(table: &Table) -> bool {
    table.header().n_filled.load(Ordering::Relaxed) >= n_slots(table.capacity()) / 4 * 3
}

/// Takes `idx` out of the index.
pub(super) fn remove_from_index(table: &Table, hash: u64, idx: u64) {
    let mask = n_slots(table.capacity()) - 1;
    let mut at = hash & mask;
    while u64::from(slot(table, at).load(Ordering::Relaxed)) != idx + 1 {
        at = (at + 1) & mask;
    }
    if slot(table, (at + 1) & mask).load(Ordering::Relaxed) != 0 {
        slot(table, at).store(PASSED, Ordering::Relaxed);
        return;
    }
    // Nothing lies behind: neither this slot nor those before it lead anywhere any more.
    loop {
        slot(table, at).store(0, Ordering::Relaxed);
        table.header().n_filled.fetch_sub(1, Ordering::Relaxed);
        at = at.wrapping_sub(1) & mask;
        if slot(table, at).load(Ordering::Relaxed) != PASSED {
            return;
        }
    }
}

/// Entries at either end that are gone need not be looked at again.
pub(super) fn forget_ends(table: &Table) {
    let header = table.header();
    let is_gone = |idx: u64| entry(table, idx).value.load(Ordering::Relaxed) == 0;
    let (mut first, mut n_used) = (header.first.load(Ordering::Relaxed), n_used(table));
    while n_used > first && is_gone(n_used - 1) {
        n_used -= 1;
    }
    while first < n_used && is_gone(first) {
        first += 1;
    }
    if first == n_used {
        (first, n_used) = (0, 0);
    }
    // Whoever dies between the two leaves `first` to be made anew.
    header.state.store(n_used, Ordering::Release);
    header.first.store(first, Ordering::Relaxed);
}

/// Numbers of the entries that are there.
pub(super) fn living(table: &Table) -> impl DoubleEndedIterator<Item = u64> + '_ {
    let first = table.header().first.load(Ordering::Relaxed);
    let is_there = |idx: &u64| entry(table, *idx).value.load(Ordering::Relaxed) != 0;
    (first..n_used(table)).filter(is_there)
}

impl Contents for Entries {
    fn for_each_value(table: &Table, f: &mut dyn FnMut(u32)) {
        for idx in 0..n_used(table) {
            match entry(table, idx).value.load(Ordering::Relaxed) as u32 {
                0 => {}
                at => f(at),
            }
        }
    }

    fn derive(_root: &Root, table: &Table) {
        for idx in 0..n_slots(table.capacity()) {
            slot(table, idx).store(0, Ordering::Relaxed);
        }
        let header = table.header();
        header.first.store(0, Ordering::Relaxed);
        header.n_filled.store(0, Ordering::Relaxed);
        let mut n_live = 0;
        for idx in living(table) {
            add_to_index(table, entry(table, idx).hash.load(Ordering::Relaxed), idx);
            n_live += 1;
        }
        header.n_live.store(n_live, Ordering::Relaxed);
    }
}
