//! Looking for regions that this process can reach.
//!
//! What is free may lie in windows that the process has not mapped yet, and may not: then only
//! those are looked at that it has.

use crate::heap::Heap;
use crate::layout::BlockRef;
use crate::layout::REGION;
use crate::out_of_memory::OutOfMemory;
use manyhands_sys::atomic::Ordering;

/// One search for `n` regions in a row.
pub(crate) struct Search<'a> {
    heap: &'a Heap,
    n: u64,
    /// Bytes of the block that is to lie there, if they are a run.
    len: u64,
    is_small: bool,
    /// Why a free region could not be reached.
    refused: Option<OutOfMemory>,
    /// How many times something strange was found in a window's place.
    n_occupied: u32,
}

/// After so many the whole part of the address space is held for occupied.
const MOST_OCCUPIED: u32 = 64;

impl<'a> Search<'a> {
    pub(crate) const fn new(heap: &'a Heap, n: u64, len: u64, is_small: bool) -> Self {
        Self { heap, n, len, is_small, refused: None, n_occupied: 0 }
    }

    /// Whether nothing can be found from the region `idx` on: no window beyond the high-water mark
    /// is mapped.
    pub(crate) fn is_over(&self, idx: u64) -> bool {
        !self.maps_more() && idx > self.heap.header().high_water.load(Ordering::Relaxed)
    }

    /// Before the lines of the regions are looked at; false: that cannot be.
    pub(crate) fn reach_lines(&mut self, idx: u64) -> bool {
        let reached = self.heap.reach_lines(idx, self.n);
        reached.map_err(|error| self.refused = Some(error)).is_ok()
    }

    /// Holds the place of the regions from `idx` on. `Err`: where to go on.
    pub(crate) fn hold(&mut self, idx: u64) -> Result<(), u64> {
        let (offset, len) = (self.heap.layout.region_at(idx), self.n * REGION);
        let windows = &self.heap.windows;
        let next = self.heap.layout.next_window(idx);
        let is_hopeless = !self.maps_more() || windows.is_occupied(offset, len);
        if is_hopeless && !windows.is_mapped(offset, len) {
            return Err(next);
        }
        let held = match self.is_small {
            true => self.heap.reach(offset, len).map(drop),
            false => self.heap.hold_place(self.place(idx)),
        };
        let Err(error) = held else { return Ok(()) };
        if windows.is_occupied(offset, len) {
            self.n_occupied += 1;
        } else {
            // The limit is the same everywhere.
            self.n_occupied = MOST_OCCUPIED;
        }
        self.refused = Some(error);
        Err(next)
    }

    /// After the regions from `idx` on were not to be had.
    pub(crate) fn leave(&self, idx: u64) {
        if !self.is_small {
            self.heap.leave_place(self.place(idx));
        }
    }

    const fn place(&self, idx: u64) -> BlockRef {
        BlockRef { offset: self.heap.layout.region_at(idx), len: self.len }
    }

    /// What there is to say if nothing was found.
    pub(crate) fn into_error(self, len: u64) -> Option<OutOfMemory> {
        self.refused.map(|error| OutOfMemory { wanted: len, ..error })
    }

    const fn maps_more(&self) -> bool {
        self.n_occupied < MOST_OCCUPIED
    }
}
