//! Where a primitive was taken last: one pointer, stored by whoever takes it.

use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::deadlock::Site;

/// A place of the program, or none yet.
pub(super) struct Place(AtomicPtr<Location<'static>>);

impl Place {
    pub(super) const fn unknown() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline]
    pub(super) fn set(&self, place: &'static Location<'static>) {
        self.0.store(ptr::from_ref(place).cast_mut(), Ordering::Relaxed);
    }

    pub(super) fn site(&self) -> Site {
        match NonNull::new(self.0.load(Ordering::Relaxed)) {
            // SAFETY: only `&'static Location`s are stored, and those are constants.
            Some(place) => Site::Rust(unsafe { place.as_ref() }),
            None => Site::Unknown,
        }
    }
}
