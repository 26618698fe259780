//! What this process knows of the memory its family may take, from its last look at the system.
//!
//! When it looks, and what is counted meanwhile, is in `charge.rs`.

use std::time::Duration;

use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_sys::clock::monotonic_ns;

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

    pub(crate) fn covers(&self, committed: u64) -> bool {
        // What others have given up again may make the count smaller than it was.
        let since = committed.saturating_sub(self.seen.load(Ordering::Relaxed));
        let looked_ns = self.looked_ns.load(Ordering::Relaxed);
        since <= self.allowance.load(Ordering::Relaxed)
            && (since <= FEW || monotonic_ns() - looked_ns <= FRESH.as_nanos() as u64)
    }

    pub(crate) fn note(&self, committed: u64, left: u64) {
        self.seen.store(committed, Ordering::Relaxed);
        self.allowance.store((left / 8).min(LARGEST_ALLOWANCE), Ordering::Relaxed);
        self.looked_ns.store(monotonic_ns(), Ordering::Relaxed);
    }
}
