//! A value that a forked child replaces, because a thread that is not there may have locked it.
//!
//! As [`crate::per_process`], for what belongs to an object instead of the whole process.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Owns a `T`; [`PerFork::renew`] leaks it and owns another one.
pub struct PerFork<T> {
    current: AtomicPtr<T>,
}

// SAFETY: it hands out `&T` and drops the `T` where it is dropped itself.
unsafe impl<T: Send + Sync> Send for PerFork<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for PerFork<T> {}

impl<T> PerFork<T> {
    /// Owns `value`.
    pub fn new(value: T) -> Self {
        Self { current: AtomicPtr::new(Box::into_raw(Box::new(value))) }
    }

    /// In the child of a fork: the old value is left as it is, for ever.
    pub fn renew(&self, value: T) {
        self.current.store(Box::into_raw(Box::new(value)), Ordering::Release);
    }
}

impl<T> Deref for PerFork<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: never null, and what was replaced is never freed.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }
}

impl<T> Drop for PerFork<T> {
    fn drop(&mut self) {
        if let Some(value) = NonNull::new(*self.current.get_mut()) {
            // SAFETY: from `Box::into_raw`, and nobody can reach it any more.
            drop(unsafe { Box::from_raw(value.as_ptr()) });
        }
    }
}
