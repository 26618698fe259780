//! Cleaning up after a dead party.

use manyhands_sys::atomic::Ordering;

use crate::alloc::Local;
use crate::heap::Heap;
use crate::layout::{BlockWord, Party, RegionKind, RegionWord, n_blocks};

/// What a sweep gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Small blocks the dead party held.
    pub n_blocks: u64,
    /// Large blocks the dead party held.
    pub n_runs: u64,
    /// Small regions of the dead party that still hold blocks of others: now the caller's.
    pub n_adopted: u64,
}

impl Heap {
    /// Gives back every block `dead` held and takes over its regions.
    ///
    /// The caller makes sure that the party is really dead and that nobody else sweeps for it;
    /// blocks it had handed over before (see [`Heap::take_over`]) are no longer its own.
    pub fn sweep(&self, dead: Party) -> Swept {
        let mut swept = Swept::default();
        // Held throughout: `trim` must not release a region while it is looked at as a small one.
        let mut local = self.lock_local();
        let end = self.header().high_water.load(Ordering::Acquire);
        for idx in 0..end {
            let region = RegionWord::load(self.region_word(idx));
            match region.kind() {
                RegionKind::Small => self.sweep_small(idx, region, dead, &mut local, &mut swept),
                RegionKind::Run | RegionKind::Leaving if region.owner() == dead => {
                    self.release_run(idx, region);
                    swept.n_runs += 1;
                }
                _ => {}
            }
        }
        swept
    }

    fn sweep_small(
        &self,
        idx: u64,
        region: RegionWord,
        dead: Party,
        local: &mut Local,
        swept: &mut Swept,
    ) {
        let class = region.detail() as usize;
        for block_idx in 0..n_blocks(class) {
            let word = self.block_word(idx, block_idx);
            let before = BlockWord::load(word);
            if before.holder() == dead && before.replace(word, before.freed()) {
                swept.n_blocks += 1;
            }
        }
        // Also where the dead party held nothing: it may have died between giving a block back
        // and counting it, and the owner would never look there again.
        self.count_freed(idx);
        let mine = RegionWord::small(self.me, class);
        let adopted = region.owner() == dead && region.replace(self.region_word(idx), mine);
        if adopted && !self.release_if_empty(idx, class) {
            local.adopt(idx, class);
            swept.n_adopted += 1;
        }
    }
}
