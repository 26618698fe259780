//! Taking and giving back: each a compare-and-swap on the word of one region or block.
//!
//! A party cuts small blocks only from regions it owns, so no two parties compete for the same
//! free block; a block is given back by whoever holds it, with one swap of its word. The private
//! list of owned regions (`local.rs`) is only a way to find free blocks fast: it holds no truth.
//!
//! What a process gets, here or from others, it has reached: whoever has a [`Block`] can use it.
//! That it may map no more is an error before anything has changed.

use std::sync::{Arc, MutexGuard, PoisonError};

use manyhands_sys::atomic::{AtomicU64, Ordering};

use crate::block::{Block, Place, Stamp, Ticket};
use crate::heap::Heap;
use crate::layout::BlockRef;
use crate::layout::{
    BlockWord, REGION, RegionKind, RegionWord, blocks_at, class_of, class_size, n_blocks,
};
use crate::local::{Local, OwnedRegion};
use crate::out_of_memory::OutOfMemory;
use crate::party::Party;
use crate::search::Search;

/// So much of a small region is backed with pages at a time.
const SMALL_STEP: u64 = 32 << 10;

impl Heap {
    /// A block of at least `len` bytes, held by the caller's process.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the heap's limit, the machine or its control group lacks the room.
    pub fn alloc(self: &Arc<Self>, len: u64) -> Result<Block, OutOfMemory> {
        self.check_membership(len)?;
        let (offset, stamp) = self.try_alloc(len).or_else(|_| {
            // Empty regions of ours may be all that is in the way.
            self.trim();
            self.try_alloc(len)
        })?;
        Ok(Block::new(Arc::clone(self), BlockRef { offset, len }, stamp))
    }

    fn try_alloc(&self, len: u64) -> Result<(u64, Stamp), OutOfMemory> {
        match class_of(len) {
            Some(class) => {
                self.alloc_small(class, len).map_err(|error| OutOfMemory { wanted: len, ..error })
            }
            None => self.alloc_run(len),
        }
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
    /// # Errors
    /// As [`Heap::take_over`].
    ///
    /// # Safety
    /// As for [`Heap::take_over`].
    pub unsafe fn take_over_exactly(
        self: &Arc<Self>,
        ticket: Ticket,
        from: Party,
    ) -> Result<Option<Block>, OutOfMemory> {
        let Ticket { at, stamp } = ticket;
        self.take_over_if(at, from, Some(stamp))
    }

    /// Makes the caller the holder of a block that `from` hands over. `None`: it was not `from`'s.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more: then it is still `from`'s.
    ///
    /// # Safety
    /// `from` has [left](Block::leave_to_receiver) or [given](Block::give_to) the block that lies
    /// there to whoever the caller is: nobody else uses its bytes any more, nor takes it over for
    /// itself to use. What is no block, or not of `from`, is refused.
    pub unsafe fn take_over(
        self: &Arc<Self>,
        at: BlockRef,
        from: Party,
    ) -> Result<Option<Block>, OutOfMemory> {
        self.take_over_if(at, from, None)
    }

    fn take_over_if(
        self: &Arc<Self>,
        at: BlockRef,
        from: Party,
        stamp: Option<Stamp>,
    ) -> Result<Option<Block>, OutOfMemory> {
        let end = at.offset.checked_add(at.len);
        let is_inside = end.is_some_and(|end| end <= self.layout.file_len());
        if !is_inside || self.layout.region_of(at.offset).is_none() {
            return Ok(None);
        }
        let place = Place::new(self, at)?;
        let taken = self.change_holder(at, from, stamp, Some(self.me()))?;
        Ok(taken.map(|stamp| place.into_block(stamp)))
    }

    /// What lies there, held by whomever, can be read as long as the answer lives.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more.
    pub fn look_at(self: &Arc<Self>, at: BlockRef) -> Result<Place, OutOfMemory> {
        Place::new(self, at)
    }

    /// Gives a block back that is `from`'s, unseen: a large one also if this process could not map
    /// it. A small one that it cannot reach stays `from`'s, at the longest until the family ends.
    ///
    /// # Safety
    /// As for [`Heap::take_over`].
    pub unsafe fn give_back(&self, at: BlockRef, from: Party) {
        self.give_back_if(at, from, None);
    }

    /// The same of the very block that the ticket was made of.
    ///
    /// # Safety
    /// As for [`Heap::take_over`].
    pub unsafe fn give_back_exactly(&self, ticket: Ticket, from: Party) {
        self.give_back_if(ticket.at, from, Some(ticket.stamp));
    }

    fn give_back_if(&self, at: BlockRef, from: Party, stamp: Option<Stamp>) {
        // First it becomes ours: what is left by a death in between is swept.
        if let Ok(Some(stamp)) = self.change_holder(at, from, stamp, Some(self.me())) {
            let _ = self.change_holder(at, self.me(), Some(stamp), None);
        }
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
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process cannot reach the words that tell who holds the block.
    pub(crate) fn change_holder(
        &self,
        at: BlockRef,
        from: Party,
        stamp: Option<Stamp>,
        to: Option<Party>,
    ) -> Result<Option<Stamp>, OutOfMemory> {
        let Some(idx) = self.layout.region_of(at.offset) else { return Ok(None) };
        self.reach_lines(idx, 1)?;
        let region = RegionWord::load(self.region_word(idx));
        let within = at.offset - self.layout.region_at(idx);
        match region.kind() {
            RegionKind::Small => {
                let class = region.detail() as usize;
                let Some(block_idx) = block_at(class, within, at.len) else { return Ok(None) };
                self.reach_block_words(idx, class)?;
                Ok(self.change_block(idx, block_idx, from, stamp, to))
            }
            RegionKind::Run if within == 0 && at.len <= region.detail() * REGION => {
                Ok(self.change_run(idx, region, from, stamp, to))
            }
            _ => Ok(None),
        }
    }

    /// Before the block words of a small region that may be another's are looked at. All of the
    /// region is reached by it.
    pub(crate) fn reach_block_words(&self, idx: u64, class: usize) -> Result<(), OutOfMemory> {
        self.reach(self.layout.region_at(idx), blocks_at(n_blocks(class))).map(drop)
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
        let mut refused = None;
        for _ in 0..state.regions.len() {
            let n_regions = state.regions.len();
            state.cursor %= n_regions;
            match self.take_block(&mut state.regions[state.cursor], class) {
                Ok(Some(taken)) => return Ok(taken),
                Ok(None) => {}
                // Others may have free blocks that take no more pages.
                Err(error) => refused = Some(error),
            }
            state.cursor += 1;
        }
        if let Some(error) = refused {
            return Err(error);
        }
        let idx = self.claim(1, RegionWord::small(self.me(), class), len)?;
        state.cursor = state.regions.len();
        state.regions.push(OwnedRegion::new(idx));
        let region = &mut state.regions[state.cursor];
        Ok(self.take_block(region, class)?.expect("a fresh region is empty"))
    }

    /// `None`: no block of the region is free. `Err`: those that are free have no pages, and none
    /// can be had.
    fn take_block(
        &self,
        region: &mut OwnedRegion,
        class: usize,
    ) -> Result<Option<(u64, Stamp)>, OutOfMemory> {
        // Acquire: meets the Release of `count_freed`.
        let n_freed = self.freed_counter(region.idx).load(Ordering::Acquire);
        if region.full_at == Some(n_freed) {
            return Ok(None);
        }
        let n = n_blocks(class);
        let mut refused = None;
        for step in 0..n {
            let block_idx = (region.next_block + step) % n;
            let end = blocks_at(n) + (block_idx + 1) * class_size(class);
            if end > region.committed {
                if refused.is_none() {
                    refused = self.commit_small(region, end).err();
                }
                if refused.is_some() {
                    continue;
                }
            }
            let word = self.block_word(region.idx, block_idx);
            let before = BlockWord::load(word);
            let after = before.allocated_by(self.me());
            if before.is_free() && before.replace(word, after) {
                region.next_block = (block_idx + 1) % n;
                region.full_at = None;
                let start = self.layout.region_at(region.idx) + blocks_at(n);
                let stamp = self.stamp_of(region.idx, after.n_allocated());
                return Ok(Some((start + block_idx * class_size(class), stamp)));
            }
        }
        if let Some(error) = refused {
            return Err(error);
        }
        region.full_at = Some(n_freed);
        Ok(None)
    }

    /// Backs a small region of ours with pages up to `end`, in steps.
    #[cold]
    fn commit_small(&self, region: &mut OwnedRegion, end: u64) -> Result<(), OutOfMemory> {
        let end = end.next_multiple_of(SMALL_STEP).min(REGION);
        let (at, len) = (self.layout.region_at(region.idx), end - region.committed);
        let _charge = self.charge(len)?;
        self.commit(at + region.committed, len).map_err(|error| no_pages(len, &error))?;
        region.committed = end;
        Ok(())
    }

    fn alloc_run(&self, len: u64) -> Result<(u64, Stamp), OutOfMemory> {
        let n = len.div_ceil(REGION);
        if n > self.layout.n_regions {
            return Err(self.no_gap(len));
        }
        let _charge = self.charge(len)?;
        let word = RegionWord::run(self.me(), n);
        let idx = self.claim(n, word, len)?;
        self.committed_pages(idx).store(0, Ordering::Relaxed);
        let committed = self.commit_more(idx, len).or_else(|_| {
            self.release_warm();
            self.commit_more(idx, len)
        });
        if let Err(error) = committed {
            self.release_run(idx, word);
            self.leave_place(BlockRef { offset: self.layout.region_at(idx), len });
            return Err(no_pages(len, &error));
        }
        Ok((self.layout.region_at(idx), self.stamp_of(idx, 0)))
    }

    /// Backs a range that is the caller's, and reached, with pages.
    pub(crate) fn commit(&self, at: u64, len: u64) -> std::io::Result<()> {
        // What is written next is mapped along; the other call says best what is short.
        self.windows.populate(at, len).or_else(|_| self.file.commit(at, len))
    }

    /// Claims `n` regions in a row, the first with `head`: the place of a small region, or of a run
    /// for `len` bytes, is held from then on.
    fn claim(&self, n: u64, head: RegionWord, len: u64) -> Result<u64, OutOfMemory> {
        let hint = self.header().low_hint.load(Ordering::Relaxed);
        let mut search = Search::new(self, n, len, head.kind() == RegionKind::Small);
        let found = self.claim_from(hint, n, head, &mut search).or_else(|| {
            self.release_warm();
            // Windows that nobody uses have made room meanwhile, and may be the right ones.
            search = Search::new(self, n, len, head.kind() == RegionKind::Small);
            self.claim_from(0, n, head, &mut search)
        });
        let Some(idx) = found else {
            return Err(search.into_error(len).unwrap_or_else(|| self.no_gap(len)));
        };
        if idx == hint {
            // Only a hint: a store lost to a concurrent `fetch_min` costs a longer search.
            self.header().low_hint.store(idx + n, Ordering::Relaxed);
        }
        Ok(idx)
    }

    fn no_gap(&self, len: u64) -> OutOfMemory {
        let limit = self.layout.n_regions * REGION;
        let why = format!("the heap is limited to {limit} bytes and lacks a gap of that size");
        OutOfMemory::new(len, why)
    }

    fn claim_from(
        &self,
        start: u64,
        n: u64,
        head: RegionWord,
        search: &mut Search<'_>,
    ) -> Option<u64> {
        let mut idx = start;
        while idx.checked_add(n)? <= self.layout.n_regions && !search.is_over(idx) {
            match self.claim_at(idx, n, head, search) {
                Ok(()) => return Some(idx),
                Err(next) => idx = next,
            }
        }
        None
    }

    /// Claims the regions `idx..idx + n`: head first, so that a claim cut short by death has an
    /// owner. `Err`: where to go on, as a region was not free, or cannot be reached.
    fn claim_at(
        &self,
        idx: u64,
        n: u64,
        head: RegionWord,
        search: &mut Search<'_>,
    ) -> Result<(), u64> {
        if !search.reach_lines(idx) {
            return Err(self.layout.n_regions);
        }
        if RegionWord::load(self.region_word(idx)) != RegionWord::FREE {
            return Err(idx + 1);
        }
        search.hold(idx)?;
        self.claim_words(idx, n, head).inspect_err(|_| search.leave(idx))
    }

    fn claim_words(&self, idx: u64, n: u64, head: RegionWord) -> Result<(), u64> {
        // Before the claim: a sweep looks below the high-water mark only.
        self.header().high_water.fetch_max(idx + n, Ordering::AcqRel);
        if !RegionWord::FREE.replace(self.region_word(idx), head) {
            return Err(idx + 1);
        }
        for tail in idx + 1..idx + n {
            if !RegionWord::FREE.replace(self.region_word(tail), RegionWord::TAIL) {
                self.release_words(idx, tail, head);
                return Err(tail + 1);
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
        if self.punch(idx, end - idx) {
            self.release_words(idx, end, leaving);
        }
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
        let is_clean = empty && self.punch(idx, 1);
        if is_clean {
            self.release_words(idx, idx + 1, RegionWord::small(self.me(), class));
        }
        is_clean
    }

    /// Gives the pages of regions back. False: they do not read as zeros, and must not become free.
    fn punch(&self, idx: u64, n: u64) -> bool {
        let (offset, len) = (self.layout.region_at(idx), n * REGION);
        if self.file.punch_hole(offset, len).is_ok() {
            return true;
        }
        // A free region reads as zeros: where the kernel will not drop pages, clear them.
        let Ok(address) = self.reach(offset, len) else { return false };
        // SAFETY: the regions are mapped and, until released, ours alone.
        unsafe { address.as_ptr().write_bytes(0, len as usize) };
        true
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

fn no_pages(len: u64, error: &std::io::Error) -> OutOfMemory {
    OutOfMemory::new(len, format!("the system has no pages for it ({error})"))
}

fn store_free(word: &AtomicU64) {
    // Release: the hole punched before is visible to whoever claims the region.
    word.store(0, Ordering::Release);
}
