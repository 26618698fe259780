//! A block of the heap that this process holds.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::heap::Heap;
use crate::layout::BlockRef;
use crate::out_of_memory::OutOfMemory;
use crate::party::Party;

/// One block, and never a later one at the same place: for notes that may be read long after they
/// were written. Plain data; holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) at: BlockRef,
    pub(crate) stamp: Stamp,
}

/// Bytes of the heap that belong to this process until dropped or handed over.
pub struct Block {
    heap: Arc<Heap>,
    at: BlockRef,
    stamp: Stamp,
    /// Who this process was when it got the block: in a forked child the block is the parent's.
    holder: Party,
}

/// Which of the many blocks that come to lie at one place this is: how often the region was
/// released before, and how often the block was allocated since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) n_released: u32,
    pub(crate) n_allocated: u32,
}

impl Ticket {
    /// Words that make a ticket.
    pub const N_WORDS: usize = 3;

    /// As words that may lie in shared memory.
    pub const fn to_words(self) -> [u64; Self::N_WORDS] {
        let stamp = (self.stamp.n_released as u64) << 32 | self.stamp.n_allocated as u64;
        [self.at.offset, self.at.len, stamp]
    }

    /// The ticket that these words are.
    pub const fn from_words([offset, len, stamp]: [u64; Self::N_WORDS]) -> Self {
        let stamp = Stamp { n_released: (stamp >> 32) as u32, n_allocated: stamp as u32 };
        Self { at: BlockRef { offset, len }, stamp }
    }

    /// Where the block lies, if it still is there.
    pub const fn at(&self) -> BlockRef {
        self.at
    }
}

/// What lies at a place can be read as long as this lives, whoever holds it.
#[derive(Debug)]
pub struct Place {
    heap: Arc<Heap>,
    at: BlockRef,
}

impl Place {
    pub(crate) fn new(heap: &Arc<Heap>, at: BlockRef) -> Result<Self, OutOfMemory> {
        heap.hold_place(at)?;
        Ok(Self { heap: Arc::clone(heap), at })
    }

    /// The block that lies there, which has become this process's.
    pub(crate) fn into_block(self, stamp: Stamp) -> Block {
        // From now on it is the block that leaves the place.
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped and its heap is not used again.
        let heap = unsafe { ptr::read(&raw const this.heap) };
        Block::new(heap, this.at, stamp)
    }

    /// Its first byte.
    pub fn address(&self) -> NonNull<u8> {
        self.heap.place(self.at.offset)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.heap.leave_place(self.at);
    }
}

impl Block {
    /// Of a place that the caller [holds](Heap::hold_place).
    pub(crate) fn new(heap: Arc<Heap>, at: BlockRef, stamp: Stamp) -> Self {
        let holder = heap.me();
        Self { heap, at, stamp, holder }
    }

    /// Where the block lies.
    pub const fn at(&self) -> BlockRef {
        self.at
    }

    /// Whether it is a block of this heap, so that its place means something there.
    pub fn is_in(&self, heap: &Heap) -> bool {
        std::ptr::eq(&raw const *self.heap, heap)
    }

    /// What tells this block from every other one, for [`Heap::take_over_exactly`].
    pub const fn ticket(&self) -> Ticket {
        Ticket { at: self.at, stamp: self.stamp }
    }

    /// Stops giving the block back on drop: the caller promises that another party will
    /// [take it over](Heap::take_over), or that a burial ([`Heap::bury`]) will find it.
    pub fn leave_to_receiver(self) -> BlockRef {
        let at = self.at;
        self.heap.leave_place(at);
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped and its heap is not used again.
        unsafe { ptr::drop_in_place(&mut this.heap) };
        at
    }

    /// Hands the block to another party, which becomes its holder at once.
    pub fn give_to(self, party: Party) -> BlockRef {
        let (heap, stamp, holder) = (Arc::clone(&self.heap), self.stamp, self.holder);
        let at = self.leave_to_receiver();
        // Its words were reached with it.
        let _ = heap.change_holder(at, holder, Some(stamp), Some(party));
        at
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let base = self.heap.place(self.at.offset);
        // SAFETY: the block is ours alone by its word, was reached when it became ours, and lives
        // inside the mapping that `heap` keeps alive.
        unsafe { std::slice::from_raw_parts(base.as_ptr(), self.at.len as usize) }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        let base = self.heap.place(self.at.offset);
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive within this process.
        unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), self.at.len as usize) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.holder == self.heap.me() {
            // `None` if a party we lent it to has taken it over meanwhile: then it is theirs to
            // give back, and if they did, what lies there now is another block with another stamp.
            let _ = self.heap.change_holder(self.at, self.holder, Some(self.stamp), None);
        }
        self.heap.leave_place(self.at);
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Block").field(&self.at).finish()
    }
}
