//! The one switch between the real atomics and loom's model of them.
//!
//! Code that loom checks takes its atomics and its mutex (and, through [`crate::futex`], its waits)
//! from here.

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(not(loom))]
pub use std::sync::{Mutex, MutexGuard};

#[cfg(loom)]
pub use loom::sync::{Mutex, MutexGuard};

/// Loom knows the one order of sequentially consistent fences, but not of such accesses. Real
/// machines and the memory model know both, so a fence beside them is for the model only.
#[inline]
pub fn order_for_loom() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
