//! Words in the heap in which processes write down what they have done, so that it outlives them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64};

use manyhands_shm::{Block, Heap};

/// A row of bytes in the heap, all 0 at first, used only as atomics.
pub struct Ledger {
    heap: Arc<Heap>,
    at: u64,
    len: u64,
    /// Whose drop gives the memory back; only its maker has it.
    _block: Option<Block>,
}

impl Ledger {
    /// A ledger of `len` bytes that lives as long as this value.
    pub fn create(heap: &Arc<Heap>, len: u64) -> Self {
        let mut block = heap.alloc(len).expect("room for a ledger");
        block.fill(0);
        Self { heap: Arc::clone(heap), at: block.at().offset, len, _block: Some(block) }
    }

    /// What [`Ledger::open`] takes in another process.
    pub fn to_words(&self) -> [u64; 2] {
        [self.at, self.len]
    }

    /// The ledger of another process.
    ///
    /// # Safety
    /// `words` is what [`Ledger::to_words`] has returned for a ledger in the same heap, and that
    /// ledger outlives this one.
    pub unsafe fn open(heap: &Arc<Heap>, [at, len]: [u64; 2]) -> Self {
        Self { heap: Arc::clone(heap), at, len, _block: None }
    }

    /// The heap it lies in.
    pub fn heap(&self) -> &Arc<Heap> {
        &self.heap
    }

    /// The eight bytes from `8 * idx`.
    pub fn word(&self, idx: u64) -> &AtomicU64 {
        assert!(8 * idx + 8 <= self.len, "the ledger has no word {idx}");
        // SAFETY: inside the ledger's block, aligned, used only as an atomic.
        unsafe { self.heap.address(self.at + 8 * idx, 8).cast().as_ref() }
    }

    /// The byte at `at`. A byte that is used as such is part of no word that is.
    pub fn byte(&self, at: u64) -> &AtomicU8 {
        assert!(at < self.len, "the ledger has no byte {at}");
        // SAFETY: inside the ledger's block, used only as an atomic.
        unsafe { self.heap.address(self.at + at, 1).cast().as_ref() }
    }
}
