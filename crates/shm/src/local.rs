//! The regions this process cuts small blocks from: a way to find free ones fast, and no truth.

use crate::layout::N_CLASSES;

/// The small regions this process allocates from.
#[derive(Default)]
pub(crate) struct Local {
    pub(crate) classes: [Class; N_CLASSES],
}

impl Local {
    /// Makes a region that was another party's one to allocate from.
    pub(crate) fn adopt(&mut self, idx: u64, class: usize) {
        let region = OwnedRegion::new(idx);
        self.classes[class].regions.push(region);
    }
}

/// Those of one class of blocks.
#[derive(Default)]
pub(crate) struct Class {
    pub(crate) regions: Vec<OwnedRegion>,
    /// Where the last free block was found.
    pub(crate) cursor: usize,
}

/// A region of small blocks that is this process's.
pub(crate) struct OwnedRegion {
    pub(crate) idx: u64,
    pub(crate) next_block: u64,
    /// The freed counter at the time no block was free; until it changes a look is a waste.
    pub(crate) full_at: Option<u32>,
    /// Bytes from its start that are known to be backed with pages.
    pub(crate) committed: u64,
}

impl OwnedRegion {
    pub(crate) const fn new(idx: u64) -> Self {
        Self { idx, next_block: 0, full_at: None, committed: 0 }
    }
}
