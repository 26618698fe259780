//! The word that counts an object's references: that of the block it lies in.
//!
//! | low half of a block's word | meaning |
//! |---|---|
//! | a party's number, or [`Party::FAMILY`] | no object: the block has a holder |
//! | `OBJECT`, n | an object with n references |
//! | `OBJECT`, 0 | an object that somebody ends just now: nobody can open it any more |
//!
//! So an offset that names an object is known by a word that no user of the heap ever reaches,
//! and whatever bytes lie at any other place are never taken for one. To count and to see that
//! there is an object is one compare-and-swap. Which object it is (a handle may be older than what
//! lies there now) says its header, that is ours, and that nobody can end once we have counted.

use manyhands_sys::atomic::{AtomicU64, Ordering};

use crate::alloc::block_at;
use crate::heap::Heap;
use crate::layout::{REGION, RegionKind, RegionWord, class_size};
use crate::out_of_memory::OutOfMemory;
use crate::party::{OBJECT, Party, is_object};

/// The holder of an object with one reference: who makes it hands its block over to this.
pub(super) const ONE_REFERENCE: Party = Party::from_word(OBJECT | 1);

/// The holder of an object that is being ended.
pub(super) const NO_REFERENCE: Party = Party::from_word(OBJECT);

/// More references than this are not counted: the next one would be `Party::FAMILY`.
const MOST: u32 = u32::MAX - OBJECT - 1;

/// Where the references of what lies at an offset are counted, if that is an object.
#[derive(Clone, Copy)]
pub(super) struct Count<'a> {
    heap: &'a Heap,
    word: &'a AtomicU64,
    /// Bytes of its block.
    pub(super) capacity: u64,
    /// The region it lies in, and which of that region's lives this is.
    region: (u64, RegionWord, u32),
}

impl<'a> Count<'a> {
    /// `None`: no block starts at `offset`. It may be anything else than an object.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process cannot reach the word.
    pub(super) fn at(heap: &'a Heap, offset: u64) -> Result<Option<Self>, OutOfMemory> {
        let Some(idx) = heap.layout.region_of(offset) else { return Ok(None) };
        heap.reach_lines(idx, 1)?;
        let n_released = heap.stamp_of(idx, 0).n_released;
        let word = heap.region_word(idx);
        let region = RegionWord::load(word);
        let within = offset - heap.layout.region_at(idx);
        let (word, capacity) = match region.kind() {
            RegionKind::Small => {
                let class = region.detail() as usize;
                let Some(block_idx) = block_at(class, within, 0) else { return Ok(None) };
                heap.reach_block_words(idx, class)?;
                (heap.block_word(idx, block_idx), class_size(class))
            }
            RegionKind::Run if within == 0 => (word, region.detail() * REGION),
            _ => return Ok(None),
        };
        Ok(Some(Self { heap, word, capacity, region: (idx, region, n_released) }))
    }

    /// One more reference; false: there is no living object, or it has as many as can be counted.
    pub(super) fn take(self) -> bool {
        if self.change(|n| (n != 0 && n < MOST).then(|| n + 1)).is_none() {
            return false;
        }
        // A region of small blocks that was released meanwhile has its words no more. One that was
        // not by now stays, as an object lies in it.
        let is_there = self.is_in_region();
        if !is_there {
            self.give_back();
        }
        is_there
    }

    /// Whether the region is in the same life as when it was looked at.
    fn is_in_region(self) -> bool {
        let (idx, region, n_released) = self.region;
        let now = RegionWord::load(self.heap.region_word(idx));
        now.kind() == region.kind()
            && now.detail() == region.detail()
            && self.heap.stamp_of(idx, 0).n_released == n_released
    }

    /// One reference less; how many are left. `None`: there was none.
    pub(super) fn give_back(self) -> Option<u32> {
        self.change(|n| n.checked_sub(1)).map(|before| before - 1)
    }

    /// How many references there are; `None`: there is no object.
    pub(super) fn get(self) -> Option<u32> {
        // Acquire: meets the Release of who made the object, or handed its block over.
        references(self.word.load(Ordering::Acquire))
    }

    /// The number before.
    fn change(self, change: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        let change = |word: u64| {
            let after = change(references(word)?)?;
            Some(word & !u64::from(u32::MAX) | u64::from(OBJECT | after))
        };
        // AcqRel: who ends the object sees what all other holders did to it, and who opens it what
        // its maker did.
        let before = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        before.ok().and_then(references)
    }
}

fn references(word: u64) -> Option<u32> {
    let holder = Party::from_word(word as u32);
    is_object(holder).then(|| holder.number() & !OBJECT)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::heap::HeapConfig;

    #[test]
    fn references_are_counted_up_to_what_the_word_holds_and_down_to_none() {
        let heap = Heap::create(HeapConfig { limit_bytes: Some(16 << 20) }).unwrap();
        // A block cut from a region, and one of regions of its own.
        for len in [100, 1_000_000] {
            let at = heap.alloc(len).unwrap().give_to(ONE_REFERENCE);
            let count = Count::at(&heap, at.offset).unwrap().unwrap();
            assert!(count.capacity >= len && count.get() == Some(1));
            let set = |n: u32| {
                let word = count.word.load(Ordering::Relaxed) & !u64::from(u32::MAX);
                count.word.store(word | u64::from(OBJECT | n), Ordering::Relaxed);
            };
            set(MOST - 1);
            assert!(count.take());
            assert!(!count.take(), "one more would be the family");
            assert_eq!(count.get(), Some(MOST));
            set(1);
            assert_eq!(count.give_back(), Some(0));
            assert!(!count.take(), "nobody opens what is being ended");
            assert_eq!((count.give_back(), count.get()), (None, Some(0)));
        }
    }

    #[test]
    fn what_has_a_holder_has_no_references() {
        let heap = Heap::create(HeapConfig { limit_bytes: Some(16 << 20) }).unwrap();
        for len in [100, 1_000_000] {
            let block = heap.alloc(len).unwrap();
            let count = Count::at(&heap, block.at().offset).unwrap().unwrap();
            assert!(!count.take() && count.give_back().is_none() && count.get().is_none());
            block.give_to(Party::FAMILY);
            assert!(!count.take() && count.give_back().is_none() && count.get().is_none());
        }
    }

    #[test]
    fn a_region_that_was_released_has_no_counts_any_more() {
        let heap = Heap::create(HeapConfig { limit_bytes: Some(16 << 20) }).unwrap();
        let at = heap.alloc(100).unwrap().at();
        let count = Count::at(&heap, at.offset).unwrap().unwrap();
        heap.trim();
        assert!(Count::at(&heap, at.offset).unwrap().is_none());
        // What was a block's word is now somebody's byte, of any value.
        let mut run = heap.alloc(1_000_000).unwrap();
        let word = u64::from(OBJECT | 7);
        run.as_chunks_mut::<8>().0.fill(word.to_ne_bytes());
        assert!(!count.take());
        assert!(run.as_chunks::<8>().0.iter().all(|bytes| *bytes == word.to_ne_bytes()));
    }

    #[test]
    fn no_party_has_the_number_of_an_object() {
        let heap = Heap::create(HeapConfig { limit_bytes: Some(16 << 20) }).unwrap();
        assert!(!is_object(heap.me()) && !is_object(Party::FAMILY));
        assert!(is_object(ONE_REFERENCE) && is_object(NO_REFERENCE));
        assert!(heap.parties().all(|party| !is_object(party)));
    }
}
