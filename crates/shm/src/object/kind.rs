//! What objects there are, and how each ends.

use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::heap::Heap;

/// A sort of object. Every process of a family knows the same ones by the same numbers.
pub struct Kind {
    id: u32,
    name: &'static str,
    fits: Fits,
    destroy: Destroy,
}

/// Whether an object of `len` bytes is long enough for all that its bytes say lies in it.
///
/// # Safety
/// The payload is that of an object of this kind, of this length, which lives meanwhile.
pub type Fits = unsafe fn(payload: NonNull<u8>, len: u64) -> bool;

/// Gives back what an object holds besides its own block. Runs once, in any process, also for an
/// object whose last holder was killed. It may not wait for anybody, nor bury.
///
/// # Safety
/// The payload is that of an object of this kind, of this length, and nobody else can reach it any
/// more.
pub type Destroy = unsafe fn(&Arc<Heap>, payload: NonNull<u8>, len: u64);

impl Kind {
    /// A kind with this number, which people call `name`, as in "this queue is gone".
    ///
    /// # Safety
    /// - No other kind has this number, in any process of the family.
    /// - `fits` and `destroy` ask for no more than their types say.
    pub const unsafe fn new(id: u32, name: &'static str, fits: Fits, destroy: Destroy) -> Self {
        Self { id, name, fits, destroy }
    }

    /// Its number; see [`ids`].
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What people call it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// # Safety
    /// As for [`Fits`].
    pub(super) unsafe fn fits(&self, payload: NonNull<u8>, len: u64) -> bool {
        // SAFETY: the caller's promise.
        unsafe { (self.fits)(payload, len) }
    }

    /// # Safety
    /// As for [`Destroy`].
    pub(super) unsafe fn destroy(&self, heap: &Arc<Heap>, payload: NonNull<u8>, len: u64) {
        // SAFETY: the caller's promise.
        unsafe { (self.destroy)(heap, payload, len) }
    }
}

/// The numbers in use, here so that no two kinds share one.
#[expect(missing_docs, reason = "each names the kind it is for")]
pub mod ids {
    pub const LOCK: u32 = 1;
    pub const RLOCK: u32 = 2;
    pub const SEMAPHORE: u32 = 3;
    pub const EVENT: u32 = 4;
    pub const CONDITION: u32 = 5;
    pub const BARRIER: u32 = 6;
    pub const MUTEX: u32 = 7;
    pub const QUEUE: u32 = 8;
    pub const PIPE: u32 = 10;
    pub const PIPE_END: u32 = 11;
    pub const MEMORY: u32 = 14;
    pub const MAP: u32 = 16;
    pub const LIST: u32 = 17;
    pub const STORED: u32 = 19;
    /// For tests.
    pub const TEST: u32 = 63;
}

const N_KINDS: usize = 64;

static KINDS: [AtomicPtr<Kind>; N_KINDS] = [const { AtomicPtr::new(ptr::null_mut()) }; N_KINDS];

/// Makes kinds known to this process: to be called at its start, so that it can end objects which
/// it never used itself.
///
/// # Panics
/// If two kinds have the same number.
pub fn register(kinds: &[&'static Kind]) {
    for kind in kinds {
        let before =
            KINDS[kind.id as usize].swap(ptr::from_ref(*kind).cast_mut(), Ordering::AcqRel);
        assert!(
            before.is_null() || ptr::eq(before, *kind),
            "two kinds of objects have the number {}",
            kind.id
        );
    }
}

/// The kind with this number, if it is known here.
pub(super) fn known(id: u32) -> Option<&'static Kind> {
    let kind = KINDS.get(id as usize)?.load(Ordering::Acquire);
    // SAFETY: null, or from a `&'static Kind`.
    unsafe { kind.as_ref() }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind").field("id", &self.id).field("name", &self.name).finish()
    }
}
