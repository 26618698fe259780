//! How much a primitive was used, and how long threads waited for it: always counted.
//!
//! Acquisitions are counted by whoever has just acquired; the slow path, which is slow anyway,
//! counts the waits. On a lock the count is exact. On a semaphore with several permits
//! acquisitions of the same instant may count as one.

use manyhands_sys::atomic::{AtomicU64, Ordering};

/// The counters of one primitive.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Counters {
    acquisitions: AtomicU64,
    contended: AtomicU64,
    waited_ns: AtomicU64,
}

/// What the counters said at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Times it was acquired.
    pub acquisitions: u64,
    /// Times somebody had to sleep for it.
    pub contended: u64,
    /// Time all of them slept.
    pub waited_ns: u64,
}

impl Counters {
    /// All zeros.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            acquisitions: AtomicU64::new(0),
            contended: AtomicU64::new(0),
            waited_ns: AtomicU64::new(0),
        }
    }

    /// All zeros.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            acquisitions: AtomicU64::new(0),
            contended: AtomicU64::new(0),
            waited_ns: AtomicU64::new(0),
        }
    }

    /// One more acquisition, counted by the one who has it.
    #[inline]
    pub fn acquired(&self) {
        // Not a read-modify-write: the holder is alone, and a plain store costs nothing.
        let n = self.acquisitions.load(Ordering::Relaxed);
        self.acquisitions.store(n + 1, Ordering::Relaxed);
    }

    /// A wait began.
    pub fn contended(&self) {
        self.contended.fetch_add(1, Ordering::Relaxed);
    }

    /// A part of a wait is over.
    pub fn waited(&self, ns: u64) {
        self.waited_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// The numbers now.
    pub fn read(&self) -> Statistics {
        Statistics {
            acquisitions: self.acquisitions.load(Ordering::Relaxed),
            contended: self.contended.load(Ordering::Relaxed),
            waited_ns: self.waited_ns.load(Ordering::Relaxed),
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}
