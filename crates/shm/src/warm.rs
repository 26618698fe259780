//! Large blocks that were given back and keep their pages, for the next one of the same size.
//!
//! A large block costs more in page faults, in every process that touches it, than in copying. So a
//! few runs that nobody holds stay *warm*: their pages stay, and with them every member's view of
//! them. Whoever will write a block from end to end takes a warm one where there is one.
//!
//! | step | a death after it leaves |
//! |---|---|
//! | `Run(A, n)` → `Leaving(A, n)` | a run on its way: the sweep finishes it, cold |
//! | release count + 1 | the same |
//! | `Leaving(A, n)` → `Warm(n)` | a warm run, which belongs to nobody |
//! | `Warm(n)` → `Run(B, n)` | B's run: the sweep frees it |
//!
//! What lies in a warm run is what its last holder wrote: only [`Heap::alloc_for_overwrite`] hands
//! it out. Together they are at most `LARGEST_TOTAL`; they go when the heap is short of room, and
//! with [`Heap::trim`].

use std::sync::Arc;

use manyhands_sys::atomic::Ordering;

use crate::block::{Block, Stamp};
use crate::heap::Heap;
use crate::layout::BlockRef;
use crate::layout::{PAGE, REGION, RegionKind, RegionWord, class_of};
use crate::out_of_memory::OutOfMemory;

/// Regions of all warm runs together: 64 MiB.
const LARGEST_TOTAL: u64 = 256;
/// Regions of one of them: 32 MiB.
const LARGEST_RUN: u64 = 128;
/// Where they are looked for: a search is to cost less than the page faults it saves.
const WINDOW: u64 = 4_096;

impl Heap {
    /// As [`Heap::alloc`], for who writes every byte before anybody reads: there may be anything.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the heap's limit, the machine or its control group lacks the room.
    pub fn alloc_for_overwrite(self: &Arc<Self>, len: u64) -> Result<Block, OutOfMemory> {
        self.check_membership(len)?;
        if class_of(len).is_none()
            && let Some((offset, stamp)) = self.take_warm(len)
        {
            return Ok(Block::new(Arc::clone(self), BlockRef { offset, len }, stamp));
        }
        self.alloc(len)
    }

    /// Bytes of runs that nobody holds and that keep their pages.
    pub fn warm_bytes(&self) -> u64 {
        self.warm_runs().map(|(_, run)| run.detail() * REGION).sum()
    }

    fn take_warm(&self, len: u64) -> Option<(u64, Stamp)> {
        let n = len.div_ceil(REGION);
        for (idx, warm) in self.warm_runs().filter(|(_, run)| run.detail() == n) {
            let mine = RegionWord::run(self.me(), n);
            let at = BlockRef { offset: self.layout.region_at(idx), len };
            if self.hold_place(at).is_err() {
                continue;
            }
            let is_mine = warm.replace(self.region_word(idx), mine);
            if is_mine && self.charge_and_commit_more(idx, len).is_some() {
                return Some((at.offset, self.stamp_of(idx, 0)));
            }
            self.leave_place(at);
            if is_mine {
                self.release_run(idx, mine);
                return None;
            }
        }
        None
    }

    /// The run at `idx`, the caller's and leaving, becomes warm; false: there are enough.
    pub(crate) fn keep_warm(&self, idx: u64, leaving: RegionWord) -> bool {
        let n = leaving.detail();
        let total = || self.warm_bytes() / REGION;
        if n > LARGEST_RUN || idx >= WINDOW || total() + n > LARGEST_TOTAL {
            return false;
        }
        // Before the run can be another's: a stale `Block` sees the count of whoever takes it next.
        self.release_count(idx).fetch_add(1, Ordering::Relaxed);
        leaving.replace(self.region_word(idx), RegionWord::warm(n))
    }

    /// Gives the pages of all warm runs back to the system.
    pub(crate) fn release_warm(&self) {
        for (idx, warm) in self.warm_runs() {
            let mine = RegionWord::run(self.me(), warm.detail());
            if warm.replace(self.region_word(idx), mine) {
                self.release_run(idx, mine);
            }
        }
    }

    /// Backs the first `len` bytes of the caller's run with pages, as far as they are not.
    pub(crate) fn commit_more(&self, idx: u64, len: u64) -> std::io::Result<()> {
        let before = u64::from(self.committed_pages(idx).load(Ordering::Relaxed)) * PAGE;
        if before < len {
            self.commit(self.layout.region_at(idx) + before, len - before)?;
            self.committed_pages(idx).store(len.div_ceil(PAGE) as u32, Ordering::Relaxed);
        }
        Ok(())
    }

    fn charge_and_commit_more(&self, idx: u64, len: u64) -> Option<()> {
        let before = u64::from(self.committed_pages(idx).load(Ordering::Relaxed)) * PAGE;
        // Mostly none are missing, and nothing is counted.
        let more = len.saturating_sub(before);
        let _charge = (more > 0).then(|| self.charge(more)).transpose().ok()?;
        self.commit_more(idx, len).ok()
    }

    fn warm_runs(&self) -> impl Iterator<Item = (u64, RegionWord)> + '_ {
        let end = self.header().high_water.load(Ordering::Acquire).min(WINDOW);
        // All in one go: it is done whenever the last object of many a program goes.
        let runs = self.first_lines(end).iter().zip(0..);
        let runs = runs.map(|(line, idx)| (idx, RegionWord::load(&line.word)));
        runs.filter(|(_, word)| word.kind() == RegionKind::Warm)
    }
}
