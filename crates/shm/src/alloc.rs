//! Taking and giving back: each a compare-and-swap on the word of one region or block.
//!
//! A party cuts small blocks only from regions it owns, so no two parties compete for the same
//! free block; a block is given back by whoever holds it, with one swap of its word. The private
//! list of owned regions below is only a way to find free blocks fast: it holds no truth.

use std::sync::{Arc, MutexGuard, PoisonError};

use manyhands_sys::atomic::{AtomicU64, Ordering};

use crate::block::{Block, BlockRef, Stamp, Ticket};
use crate::heap::{Heap, OutOfMemory};
use crate::layout::{
    BlockWord, N_CLASSES, REGION, RegionKind, RegionWord, blocks_at, class_of, class_size, n_blocks,
};
use crate::party::Party;

/// The small regions this process allocates from.
#[derive(Default)]
pub(crate) struct Local {
    classes: [Class; N_CLASSES],
}

impl Local {
    /// Makes a region that was another party's one to allocate from.
    pub(crate) fn adopt(&mut self, idx: u64, class: usize) {
        let region = OwnedRegion { idx, next_block: 0, full_at: None };
        self.classes[class].regions.push(region);
    }
}

#[derive(Default)]
struct Class {
    regions: Vec<OwnedRegion>,
    /// Where the last free block was found.
    cursor: usize,
}

struct OwnedRegion {
    idx: u64,
    next_block: u64,
    /// The freed counter at the time no block was free; until it changes a look is a waste.
    full_at: Option<u32>,
}

/// From this size on, the machine is asked whether it has that much before pages are taken.
const ASK_FIRST: u64 = 64 << 20;

impl Heap {
    /// A block of at least `len` bytes, held by the caller's process.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the heap's limit, the machine or its control group lacks the room.
    pub fn alloc(self: &Arc<Self>, len: u64) -> Result<Block, OutOfMemory> {
        self.check_membership(len)?;
        let (offset, stamp) = match class_of(len) {
            Some(class) => self.alloc_small(class, len)?,
            None => self.alloc_run(len)?,
        };
        Ok(Block::new(Arc::clone(self), BlockRef { offset, len }, stamp))
    }

    /// A large block whose pages appear only when touched: for blocks that are mostly address
    /// space. A shortage of memory shows when a page is touched.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the heap's limit is reached.
    pub fn alloc_sparse(self: &Arc<Self>, len: u64) -> Result<Block, OutOfMemory> {
        self.check_membership(len)?;
        let n = len.div_ceil(REGION).max(1);
        let idx = self.claim(n, RegionWord::run(self.me(), n), len)?;
        self.committed_pages(idx).store(0, Ordering::Relaxed);
        let at = BlockRef { offset: self.layout.region_at(idx), len };
        Ok(Block::new(Arc::clone(self), at, self.stamp_of(idx, 0)))
    }

    /// As [`Heap::take_over`], of the very block that the ticket was made of: `None` also if that
    /// was given back meanwhile and another one lies there.
    ///
    /// # Safety
    /// As for [`Heap::take_over`].
    pub unsafe fn take_over_exactly(
        self: &Arc<Self>,
        ticket: Ticket,
        from: Party,
    ) -> Option<Block> {
        let Ticket { at, stamp } = ticket;
        self.change_holder(at, from, Some(stamp), Some(self.me()))?;
        Some(Block::new(Arc::clone(self), at, stamp))
    }

    /// Makes the caller the holder of a block that `from` hands over. `None`: it was not `from`'s.
    ///
    /// # Safety
    /// `from` has [left](Block::leave_to_receiver) or [given](Block::give_to) the block that lies
    /// there to whoever the caller is: nobody else uses its bytes any more, nor takes it over for
    /// itself to use. What is no block, or not of `from`, is refused.
    pub unsafe fn take_over(self: &Arc<Self>, at: BlockRef, from: Party) -> Option<Block> {
        let stamp = self.change_holder(at, from, None, Some(self.me()))?;
        Some(Block::new(Arc::clone(self), at, stamp))
    }

    /// Gives regions of ours without any held block back to the system.
    ///
    /// Not while somebody sweeps, who relies on small regions to stay what they are.
    pub fn trim(&self) {
        let mut local = self.lock_local();
        self.release_warm();
        let Some(_turn) = self.try_undertake() else { return };
        for (number, class) in local.classes.iter_mut().enumerate() {
            class.cursor = 0;
            class.regions.retain(|region| !self.release_if_empty(region.idx, number));
        }
    }

    /// The one transition of blocks: from one holder to another, or to nobody. `None`: there is no
    /// such block, `from` does not hold it, or it is not the one with this `stamp`.
    pub(crate) fn change_holder(
        &self,
        at: BlockRef,
        from: Party,
        stamp: Option<Stamp>,
        to: Option<Party>,
    ) -> Option<Stamp> {
        let idx = self.layout.region_of(at.offset)?;
        let region = RegionWord::load(self.region_word(idx));
        let within = at.offset - self.layout.region_at(idx);
        match region.kind() {
            RegionKind::Small => {
                let block_idx = block_at(region.detail() as usize, within, at.len)?;
                self.change_block(idx, block_idx, from, stamp, to)
            }
            RegionKind::Run if within == 0 && at.len <= region.detail() * REGION => {
                self.change_run(idx, region, from, stamp, to)
            }
            _ => None,
        }
    }

    fn change_block(
        &self,
        idx: u64,
        block_idx: u64,
        from: Party,
        wanted: Option<Stamp>,
        to: Option<Party>,
    ) -> Option<Stamp> {
        let word = self.block_word(idx, block_idx);
        let before = BlockWord::load(word);
        // After the load of the word: who sees a word of the region's next life sees its count.
        let stamp = self.stamp_of(idx, before.n_allocated());
        if before.holder() != from || wanted.is_some_and(|wanted| wanted != stamp) {
            return None;
        }
        let after = to.map_or(before.freed(), |to| before.held_by(to));
        if !before.replace(word, after) {
            return None;
        }
        if to.is_none() {
            self.count_freed(idx);
        }
        Some(stamp)
    }

    fn change_run(
        &self,
        idx: u64,
        region: RegionWord,
        from: Party,
        wanted: Option<Stamp>,
        to: Option<Party>,
    ) -> Option<Stamp> {
        let stamp = self.stamp_of(idx, 0);
        if region.owner() != from || wanted.is_some_and(|wanted| wanted != stamp) {
            return None;
        }
        let after = to.map_or(region.leaving(), |to| RegionWord::run(to, region.detail()));
        if !region.replace(self.region_word(idx), after) {
            return None;
        }
        if to.is_none() && !self.keep_warm(idx, after) {
            self.finish_release(idx, after);
        }
        Some(stamp)
    }

    pub(crate) fn stamp_of(&self, idx: u64, n_allocated: u32) -> Stamp {
        // Ordered by the Acquire of the word that was loaded before, or by owning the region.
        Stamp { n_released: self.release_count(idx).load(Ordering::Relaxed), n_allocated }
    }

    /// Tells the region's owner that it is worth a look again.
    pub(crate) fn count_freed(&self, idx: u64) {
        // Release: meets the Acquire in `take_block`; who sees the count sees the free block.
        self.freed_counter(idx).fetch_add(1, Ordering::Release);
    }

    fn alloc_small(&self, class: usize, len: u64) -> Result<(u64, Stamp), OutOfMemory> {
        let mut local = self.lock_local();
        let state = &mut local.classes[class];
        for _ in 0..state.regions.len() {
            let n_regions = state.regions.len();
            state.cursor %= n_regions;
            if let Some(taken) = self.take_block(&mut state.regions[state.cursor], class) {
                return Ok(taken);
            }
            state.cursor += 1;
        }
        let idx = self.claim(1, RegionWord::small(self.me(), class), len)?;
        state.cursor = state.regions.len();
        state.regions.push(OwnedRegion { idx, next_block: 0, full_at: None });
        let region = &mut state.regions[state.cursor];
        Ok(self.take_block(region, class).expect("a fresh region is empty"))
    }

    fn take_block(&self, region: &mut OwnedRegion, class: usize) -> Option<(u64, Stamp)> {
        // Acquire: meets the Release of `count_freed`.
        let n_freed = self.freed_counter(region.idx).load(Ordering::Acquire);
        if region.full_at == Some(n_freed) {
            return None;
        }
        let n = n_blocks(class);
        for step in 0..n {
            let block_idx = (region.next_block + step) % n;
            let word = self.block_word(region.idx, block_idx);
            let before = BlockWord::load(word);
            let after = before.allocated_by(self.me());
            if before.is_free() && before.replace(word, after) {
                region.next_block = (block_idx + 1) % n;
                region.full_at = None;
                let start = self.layout.region_at(region.idx) + blocks_at(n);
                let stamp = self.stamp_of(region.idx, after.n_allocated());
                return Some((start + block_idx * class_size(class), stamp));
            }
        }
        region.full_at = Some(n_freed);
        None
    }

    fn alloc_run(&self, len: u64) -> Result<(u64, Stamp), OutOfMemory> {
        if len >= ASK_FIRST {
            let available = manyhands_sys::machine::available_bytes().unwrap_or(u64::MAX);
            if len > available {
                let why = format!("the system has {available} bytes available");
                return Err(OutOfMemory::new(len, why));
            }
        }
        let n = len.div_ceil(REGION);
        let word = RegionWord::run(self.me(), n);
        let idx = self.claim(n, word, len)?;
        self.committed_pages(idx).store(0, Ordering::Relaxed);
        let committed = self.commit_more(idx, len).or_else(|_| {
            self.release_warm();
            self.commit_more(idx, len)
        });
        if let Err(error) = committed {
            self.release_run(idx, word);
            return Err(OutOfMemory::new(len, error.to_string()));
        }
        Ok((self.layout.region_at(idx), self.stamp_of(idx, 0)))
    }

    /// Claims `n` regions in a row, the first with `head`.
    fn claim(&self, n: u64, head: RegionWord, len: u64) -> Result<u64, OutOfMemory> {
        let hint = self.header().low_hint.load(Ordering::Relaxed);
        let found = self.claim_from(hint, n, head).or_else(|| {
            self.release_warm();
            self.claim_from(0, n, head)
        });
        let Some(idx) = found else {
            let limit = self.layout.n_regions * REGION;
            let why = format!("the heap is limited to {limit} bytes and lacks a gap of that size");
            return Err(OutOfMemory::new(len, why));
        };
        if idx == hint {
            // Only a hint: a store lost to a concurrent `fetch_min` costs a longer search.
            self.header().low_hint.store(idx + n, Ordering::Relaxed);
        }
        Ok(idx)
    }

    fn claim_from(&self, start: u64, n: u64, head: RegionWord) -> Option<u64> {
        let mut idx = start;
        while idx.checked_add(n)? <= self.layout.n_regions {
            match self.claim_at(idx, n, head) {
                Ok(()) => return Some(idx),
                Err(taken) => idx = taken + 1,
            }
        }
        None
    }

    /// Claims the regions `idx..idx + n`: head first, so that a claim cut short by death has an
    /// owner. `Err`: the region that was not free.
    fn claim_at(&self, idx: u64, n: u64, head: RegionWord) -> Result<(), u64> {
        if RegionWord::load(self.region_word(idx)) != RegionWord::FREE {
            return Err(idx);
        }
        // Before the claim: a sweep looks below the high-water mark only.
        self.header().high_water.fetch_max(idx + n, Ordering::AcqRel);
        if !RegionWord::FREE.replace(self.region_word(idx), head) {
            return Err(idx);
        }
        for tail in idx + 1..idx + n {
            if !RegionWord::FREE.replace(self.region_word(tail), RegionWord::TAIL) {
                self.release_words(idx, tail, head);
                return Err(tail);
            }
        }
        Ok(())
    }

    /// Gives a run back that is the caller's or a dead party's.
    pub(crate) fn release_run(&self, idx: u64, run: RegionWord) {
        let leaving = run.leaving();
        // A dead party may have left it in either state.
        if run == leaving || run.replace(self.region_word(idx), leaving) {
            self.finish_release(idx, leaving);
        }
    }

    /// The rest of a release, also of one cut short: pages, tails, and the head last.
    fn finish_release(&self, idx: u64, leaving: RegionWord) {
        let mut end = idx + 1;
        let limit = (idx + leaving.detail()).min(self.layout.n_regions);
        while end < limit && RegionWord::load(self.region_word(end)).kind() == RegionKind::Tail {
            end += 1;
        }
        self.punch(idx, end - idx);
        self.release_words(idx, end, leaving);
    }

    fn release_words(&self, idx: u64, end: u64, head: RegionWord) {
        for tail in (idx + 1..end).rev() {
            store_free(self.region_word(tail));
        }
        // Before the region is free: a stale `Block` sees the count of whoever claims it next.
        self.release_count(idx).fetch_add(1, Ordering::Relaxed);
        head.replace(self.region_word(idx), RegionWord::FREE);
        self.header().low_hint.fetch_min(idx, Ordering::Relaxed);
    }

    /// Releases a small region of ours if no block of it is held.
    pub(crate) fn release_if_empty(&self, idx: u64, class: usize) -> bool {
        let empty = (0..n_blocks(class))
            .all(|block_idx| BlockWord::load(self.block_word(idx, block_idx)).is_free());
        if empty {
            self.punch(idx, 1);
            self.release_words(idx, idx + 1, RegionWord::small(self.me(), class));
        }
        empty
    }

    fn punch(&self, idx: u64, n: u64) {
        let (offset, len) = (self.layout.region_at(idx), n * REGION);
        if self.file.punch_hole(offset, len).is_err() {
            // A free region reads as zeros: where the kernel will not drop pages, clear them.
            // SAFETY: the regions are inside the mapping and, until released, ours alone.
            unsafe { self.address(offset, len).as_ptr().write_bytes(0, len as usize) };
        }
    }

    pub(crate) fn lock_local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which block of a small region starts `within` bytes into it, if one does and takes `len` bytes.
pub(crate) fn block_at(class: usize, within: u64, len: u64) -> Option<u64> {
    let (n, size) = (n_blocks(class), class_size(class));
    let from_first = within.checked_sub(blocks_at(n))?;
    // Sizes are powers of two.
    let block_idx = from_first >> size.trailing_zeros();
    (from_first & (size - 1) == 0 && block_idx < n && len <= size).then_some(block_idx)
}

fn store_free(word: &AtomicU64) {
    // Release: the hole punched before is visible to whoever claims the region.
    word.store(0, Ordering::Release);
}
