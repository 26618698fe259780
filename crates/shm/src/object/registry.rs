//! What a process has of the family's objects: part of its view of the heap.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use super::kind::Kind;
use super::shape::Shape;
use crate::heap::Heap;
use crate::party::Party;

/// A reference to a shared object, this process's. Clones are counted within the process only.
#[derive(Clone)]
pub struct Object {
    pub(super) inner: Arc<Inner>,
}

/// What the clones of a reference share.
pub(crate) struct Inner {
    pub(super) heap: Arc<Heap>,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) serial: u32,
    pub(super) kind: &'static Kind,
    pub(super) shape: Shape,
    /// Where the reference is written down, and whose it is; both change in a forked child.
    pub(super) slot: Mutex<(Slot, Party)>,
}

/// Where one reference of this party is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(super) offset: u64,
}

/// Slots of this party that are free.
#[derive(Default)]
pub(crate) struct FreeSlots(pub(super) Mutex<Vec<Slot>>);

/// What this process has of the family's objects.
#[derive(Default)]
pub(crate) struct Registry {
    pub(super) objects: Mutex<HashMap<u64, Weak<Inner>>>,
    pub(super) free: FreeSlots,
    /// Named in pickles that nobody here knows the whereabouts of: kept as long as the process.
    pub(super) pinned: Mutex<HashMap<u64, Object>>,
}
