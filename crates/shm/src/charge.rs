//! Whether the machine, and the control groups, have the memory that is about to be taken.
//!
//! Who takes pages beyond the limit of a control group is not refused: somebody in the group is
//! killed, most likely who has most. So the system is asked before pages are taken. It is not asked
//! each time: the family counts what its members take, in the header, and each member has an
//! *allowance* of that count from its last look. Many small blocks are so as good as a large one.
//!
//! | step | what the next look of another member sees |
//! |---|---|
//! | `Entry::committing` + n | n bytes less |
//! | pages are taken | n bytes less twice, for a moment |
//! | `Entry::committing` − n | n bytes less, in what the system says |
//!
//! A member that dies in between leaves its `committing` until it is buried.
//!
//! What it does not do: foresee what tasks take for themselves. A margin is left for that.

use manyhands_sys::atomic::Ordering;
use manyhands_sys::machine;

use crate::heap::Heap;
use crate::out_of_memory::OutOfMemory;
use crate::party::Party;

/// What is left to the tasks themselves: a sixteenth of the whole, within these bounds.
const SMALLEST_MARGIN: u64 = 4 << 20;
const LARGEST_MARGIN: u64 = 256 << 20;

/// Bytes about to be taken; to be dropped once they are.
pub(crate) struct Charge<'a> {
    heap: &'a Heap,
    party: Party,
    n_bytes: u64,
}

impl Heap {
    /// Before `n_bytes` of pages are taken from the system.
    ///
    /// # Errors
    /// [`OutOfMemory`] if there is not that much.
    pub(crate) fn charge(&self, n_bytes: u64) -> Result<Charge<'_>, OutOfMemory> {
        let charge = Charge { heap: self, party: self.me(), n_bytes };
        if let Some(entry) = self.entry(charge.party) {
            entry.committing.fetch_add(n_bytes, Ordering::AcqRel);
        }
        let committed = &self.header().committed;
        let count = committed.fetch_add(n_bytes, Ordering::AcqRel) + n_bytes;
        if !self.budget.covers(count)
            && let Err(error) = self.look(n_bytes, count)
        {
            committed.fetch_sub(n_bytes, Ordering::AcqRel);
            return Err(error);
        }
        Ok(charge)
    }

    /// Asks the system.
    #[cold]
    fn look(&self, n_bytes: u64, count: u64) -> Result<(), OutOfMemory> {
        let mut has_warm = self.warm_bytes() > 0;
        loop {
            // Where the system does not tell, there is no limit known.
            let Some(memory) = machine::memory() else { return Ok(()) };
            let margin = (memory.whole / 16).clamp(SMALLEST_MARGIN, LARGEST_MARGIN);
            let left = memory.available.saturating_sub(margin + self.committing_with(n_bytes));
            if let Some(left) = left.checked_sub(n_bytes) {
                self.budget.note(count, left);
                return Ok(());
            }
            if !has_warm {
                let (available, whole) = (memory.available, memory.whole);
                let why = format!(
                    "of {whole} bytes that the machine or the control group (container) has, \
                     {available} are available, and {margin} of them are left to the tasks"
                );
                return Err(OutOfMemory::new(n_bytes, why));
            }
            self.release_warm();
            has_warm = false;
        }
    }

    /// Bytes that members are taking just now, besides the caller's `n_bytes`.
    fn committing_with(&self, n_bytes: u64) -> u64 {
        let all = self.parties().filter_map(|party| self.entry(party));
        let sum: u64 = all.map(|entry| entry.committing.load(Ordering::Acquire)).sum();
        sum.saturating_sub(n_bytes)
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        // A copy in a forked child is not its charge.
        if self.party == self.heap.me()
            && let Some(entry) = self.heap.entry(self.party)
        {
            entry.committing.fetch_sub(self.n_bytes, Ordering::AcqRel);
        }
    }
}
