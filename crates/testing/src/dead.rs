//! Parties whose process has ended.

use std::sync::Arc;

use manyhands_shm::{Heap, Party};

/// A party whose process has ended, and that this process is to bury.
#[derive(Debug)]
#[must_use = "what it held is to be given back"]
pub struct Dead(Party);

impl Dead {
    /// # Safety
    /// The process of `party` has ended.
    pub(crate) unsafe fn new(party: Party) -> Self {
        Self(party)
    }

    /// Who it was.
    pub fn party(&self) -> Party {
        self.0
    }

    /// Gives back what it held; how many blocks and runs that were.
    pub fn bury(self, heap: &Arc<Heap>) -> u64 {
        // SAFETY: its process has ended, as `new` was promised.
        let swept = unsafe { heap.bury(self.0) };
        swept.n_blocks + swept.n_runs
    }
}
