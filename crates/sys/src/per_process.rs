//! A value of which each process has its own, also a process made by `fork`.
//!
//! A forked child has copies of its parent's memory and none of its threads: a lock that such a
//! thread held stays locked for ever. What is global and guarded by locks is therefore kept here,
//! and the child, once told to [`forget`](PerProcess::forget), starts with a fresh one. The
//! parent's copy is leaked in the child, on purpose: nothing of it may be touched there.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A global made when first needed, and made anew in a forked child.
pub struct PerProcess<T> {
    current: AtomicPtr<T>,
}

impl<T: Default + Send + Sync + 'static> PerProcess<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { current: AtomicPtr::new(ptr::null_mut()) }
    }

    /// This process's value.
    pub fn get(&self) -> &'static T {
        let mut current = self.current.load(Ordering::Acquire);
        if current.is_null() {
            let fresh = Box::into_raw(Box::<T>::default());
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match self.current.compare_exchange(current, fresh, success, failure) {
                Ok(_) => current = fresh,
                Err(other) => {
                    // SAFETY: nobody has seen `fresh`.
                    drop(unsafe { Box::from_raw(fresh) });
                    current = other;
                }
            }
        }
        // SAFETY: a published value is never freed.
        unsafe { &*current }
    }

    /// In the child of a fork: the parent's value is not ours.
    pub fn forget(&self) {
        self.current.store(ptr::null_mut(), Ordering::Release);
    }
}

impl<T: Default + Send + Sync + 'static> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_forgotten_value_is_made_anew_and_the_old_one_stays_valid() {
        static VALUE: PerProcess<Mutex<u32>> = PerProcess::new();
        let before = VALUE.get();
        *before.lock().unwrap() = 7;
        assert_eq!(*VALUE.get().lock().unwrap(), 7);
        VALUE.forget();
        assert_eq!(*VALUE.get().lock().unwrap(), 0);
        assert_eq!(*before.lock().unwrap(), 7);
    }
}
