//! What a party holds, written down where its undertaker finds it.
//!
//! Each party has a chain of pages in the heap with a slot for every reference it counts in an
//! object. Only the party writes its slots (a forked child's are written by its parent before the
//! fork).
//!
//! | slot | meaning | the undertaker |
//! |---|---|---|
//! | 0 | free | – |
//! | offset, `MAKING` | the object is being made: its block is the party's, or counts one reference | releases it if it counts; else the sweep frees it |
//! | offset, `CHANGING` | the reference is being counted, or taken off the count | leaves the count alone |
//! | offset | one of the object's references is this party's | releases it |
//!
//! `CHANGING` lasts for one instruction on another word, so a kill there leaves in doubt whether
//! the count has the reference. Of the two mistakes the harmless one is made: the object stays
//! until the family ends.
//!
//! An undertaker that may map no more leaves the slots whose objects it cannot reach as they are.

use std::sync::{Arc, Mutex, PoisonError};

use manyhands_sys::atomic::{AtomicU64, Ordering};

use super::registry::{FreeSlots, Slot};
use super::word::Count;
use super::{MAKING, unreference};
use crate::heap::Heap;
use crate::layout::BlockRef;
use crate::out_of_memory::OutOfMemory;
use crate::party::Party;

const PAGE_LEN: u64 = 4096;
const N_SLOTS: u64 = PAGE_LEN / 8 - 1;

impl FreeSlots {
    /// A free slot, from a new page if need be.
    pub(super) fn take(&self, heap: &Arc<Heap>) -> Result<Slot, OutOfMemory> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.is_empty() {
            *free = new_page(heap, heap.me())?;
        }
        Ok(free.pop().expect("a page has slots"))
    }

    /// A slot that is free again.
    pub(super) fn put(&self, slot: Slot) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }

    /// In a forked child: what its parent has left free for it.
    pub(super) fn of_child(slots: Vec<Slot>) -> Self {
        Self(Mutex::new(slots))
    }
}

/// A new page of `party` in front of its chain; its slots, all free.
pub(super) fn new_page(heap: &Arc<Heap>, party: Party) -> Result<Vec<Slot>, OutOfMemory> {
    let Some(entry) = heap.entry(party) else {
        heap.check_membership(PAGE_LEN)?;
        return Err(OutOfMemory::new(PAGE_LEN, "the party is in no family".to_owned()));
    };
    let mut block = heap.alloc(PAGE_LEN)?;
    block.fill(0);
    let first = entry.holds_at.load(Ordering::Acquire);
    block[..8].copy_from_slice(&first.to_ne_bytes());
    let at = if party == heap.me() { block.leave_to_receiver() } else { block.give_to(party) };
    // Release: the undertaker sees a page that is clean and linked.
    entry.holds_at.store(at.offset, Ordering::Release);
    Ok((1..=N_SLOTS).rev().map(|idx| Slot { offset: at.offset + 8 * idx }).collect())
}

impl Slot {
    pub(super) fn word(self, heap: &Heap) -> &AtomicU64 {
        // SAFETY: inside a page of holds that was reached, aligned, used only as an atomic.
        unsafe { heap.place(self.offset).cast().as_ref() }
    }

    pub(super) fn set(self, heap: &Heap, value: u64) {
        // SeqCst: the undertaker learns of a death after everything the dead party did, so what
        // counts is the order among the party's own writes, of this one and the count beside it.
        self.word(heap).store(value, Ordering::SeqCst);
    }
}

/// Releases every reference of a dead party, and says how many it could not: those, and pages of
/// slots, that this process cannot reach. May be done twice, one undertaker at a time.
pub(crate) fn release_holds_of(heap: &Arc<Heap>, dead: Party) -> u64 {
    let Some(entry) = heap.entry(dead) else { return 0 };
    let mut page = entry.holds_at.load(Ordering::Acquire);
    let mut n_unreached = 0;
    while page != 0 {
        if heap.reach(page, PAGE_LEN).is_err() {
            return n_unreached + 1;
        }
        for idx in 1..=N_SLOTS {
            let slot = Slot { offset: page + 8 * idx };
            n_unreached += u64::from(release_hold(heap, slot).is_err());
        }
        page = Slot { offset: page }.word(heap).load(Ordering::Acquire);
    }
    n_unreached
}

fn release_hold(heap: &Arc<Heap>, slot: Slot) -> Result<(), OutOfMemory> {
    let value = slot.word(heap).load(Ordering::Acquire);
    if value == 0 {
        return Ok(());
    }
    let offset = value & !super::STATES;
    super::reach_header(heap, offset)?;
    let count = Count::at(heap, offset)?;
    let is_counted = match value & super::STATES {
        0 => true,
        // Whether it was made to the end.
        MAKING => count.and_then(Count::get).is_some(),
        _ => false,
    };
    // First the note, then the count: dying between the two keeps the object, see above.
    slot.set(heap, 0);
    if is_counted {
        unreference(heap, offset);
    }
    Ok(())
}

/// Hands the pages of `from`, which is the calling process, to `to`, which it becomes.
pub(super) fn move_pages(heap: &Heap, from: Party, to: Party) {
    let (Some(old), Some(new)) = (heap.entry(from), heap.entry(to)) else { return };
    let first = old.holds_at.swap(0, Ordering::AcqRel);
    let mut page = first;
    while page != 0 {
        // They were reached when this process got them.
        let at = BlockRef { offset: page, len: PAGE_LEN };
        let _ = heap.change_holder(at, from, None, Some(to));
        page = Slot { offset: page }.word(heap).load(Ordering::Acquire);
    }
    new.holds_at.store(first, Ordering::Release);
}
