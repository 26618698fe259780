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

use std::time::Duration;

use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_sys::clock::monotonic_ns;
use manyhands_sys::machine;

use crate::heap::{Heap, OutOfMemory};
use crate::party::Party;

/// What this process knows from its last look.
pub(crate) struct Budget {
    /// The family's count then.
    seen: AtomicU64,
    /// By so much the count may grow before the next look.
    allowance: AtomicU64,
    looked_ns: AtomicU64,
}

/// Bytes that a small program takes without ever looking.
const FIRST_ALLOWANCE: u64 = 2 << 20;
const LARGEST_ALLOWANCE: u64 = 256 << 20;
/// What is left to the tasks themselves: a sixteenth of the whole, within these bounds.
const SMALLEST_MARGIN: u64 = 4 << 20;
const LARGEST_MARGIN: u64 = 256 << 20;

/// A look grows old, as others take memory too; a few pages are no reason for a new one.
const FRESH: Duration = Duration::from_millis(250);
const FEW: u64 = 1 << 20;

impl Default for Budget {
    fn default() -> Self {
        Self {
            seen: AtomicU64::new(0),
            allowance: AtomicU64::new(FIRST_ALLOWANCE),
            looked_ns: AtomicU64::new(monotonic_ns()),
        }
    }
}

impl Budget {
    /// For who joins a family that has taken `committed` bytes.
    pub(crate) fn begin(&self, committed: u64) {
        self.seen.store(committed, Ordering::Relaxed);
    }

    fn covers(&self, committed: u64) -> bool {
        // What others have given up again may make the count smaller than it was.
        let since = committed.saturating_sub(self.seen.load(Ordering::Relaxed));
        let looked_ns = self.looked_ns.load(Ordering::Relaxed);
        since <= self.allowance.load(Ordering::Relaxed)
            && (since <= FEW || monotonic_ns() - looked_ns <= FRESH.as_nanos() as u64)
    }

    fn note(&self, committed: u64, left: u64) {
        self.seen.store(committed, Ordering::Relaxed);
        self.allowance.store((left / 8).min(LARGEST_ALLOWANCE), Ordering::Relaxed);
        self.looked_ns.store(monotonic_ns(), Ordering::Relaxed);
    }
}

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
