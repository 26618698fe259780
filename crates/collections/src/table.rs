//! A table: the one block that a container's entries and short records lie in.
//!
//! ```text
//! header | the container's own section (entries, index, order) | arena of records
//! ```
//! A table is never enlarged. A new one is made, what is wanted is copied, and one store of the
//! container's `table` word makes it the container's. Offsets within it are 32 bits, in units of 16
//! bytes, 0 for none.
//!
//! The lists of free records, one for each size class, are only a convenience: they are emptied
//! when somebody has died, and what was on them is room again in the next table.

use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_shm::{Block, BlockRef, Heap, OutOfMemory, Party};
use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::core::publish;
use crate::record::Record;

/// At the start of each table. Written under the container's lock.
#[repr(C)]
pub(crate) struct Header {
    /// What tells a table of this container from whatever else may lie there.
    mark: AtomicU64,
    len: AtomicU64,
    /// The table this one takes the place of, until it was given back; 0: none.
    pub(crate) previous: AtomicU64,
    /// Different for each table of a container.
    stamp: AtomicU64,
    /// Entries there is room for.
    capacity: AtomicU64,
    arena_at: AtomicU64,
    /// Where the part of the arena begins that was never used.
    arena_used: AtomicU64,
    /// The container's: what its entries are.
    pub(crate) state: AtomicU64,
    /// Not 0: some record may have handles.
    has_handles: AtomicU64,
    /// Derived, of a map: keys that are there; the first entry that may be; index slots in use.
    pub(crate) n_live: AtomicU64,
    pub(crate) first: AtomicU64,
    pub(crate) n_filled: AtomicU64,
    free: [AtomicU32; N_CLASSES],
}

pub(crate) const HEADER_LEN: u64 = 256;

const _: () = assert!(size_of::<Header>() as u64 <= HEADER_LEN);

const UNIT: u64 = 16;
/// 16 classes in steps of a unit, 8 that grow faster, and one of those too long for any list.
const N_CLASSES: usize = 24;
const TOO_LONG: u32 = 255;
const LONG_CLASSES: [u64; 8] = [384, 512, 768, 1024, 1536, 2048, 3072, 4096];

/// What records can be numbered in, and entries be counted in.
const LONGEST: u64 = UNIT << 32;
const MAX_CAPACITY: u64 = (1 << 31) - 1;

const MARK: u64 = u64::from_le_bytes(*b"mh-table");

/// Blocks of the heap come in these sizes: what is left over is arena.
const SMALLEST: u64 = 1024;
const LARGEST_POWER: u64 = 64 * 1024;
const REGION: u64 = 256 * 1024;

/// A table in the mapping, while its lock is held.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    base: NonNull<u8>,
    pub(crate) offset: u64,
}

/// What a new table must have room for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) capacity: u64,
    /// Bytes of the container's section, for that capacity.
    pub(crate) section: u64,
    pub(crate) arena: u64,
}

impl Table {
    /// The table at `offset`, which the container's word names and somebody else may have made.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more.
    #[inline]
    pub(crate) fn reach(heap: &Heap, offset: u64) -> Result<Self, OutOfMemory> {
        let table = Self { base: heap.reach(offset, HEADER_LEN)?, offset };
        heap.reach(offset, table.len())?;
        Ok(table)
    }

    /// Before [`Self::is_left_over`] is asked of what somebody may have left at `offset`, if that
    /// is not 0; beside this table, of the container at `owner`. It need not be a table any more.
    ///
    /// # Errors
    /// As [`Self::reach`].
    pub(crate) fn reach_left_over(
        &self,
        heap: &Heap,
        offset: u64,
        owner: u64,
    ) -> Result<(), OutOfMemory> {
        if offset == 0 {
            return Ok(());
        }
        heap.reach(offset, HEADER_LEN)?;
        if Self::is_left_over(heap, offset, owner, self.stamp()) {
            Self::reach(heap, offset)?;
        }
        Ok(())
    }

    /// The table at `offset`, which was reached before.
    pub(crate) fn at(heap: &Heap, offset: u64) -> Self {
        let header = heap.address(offset, HEADER_LEN);
        let table = Self { base: header, offset };
        // Checks that all of it is inside the heap.
        heap.address(offset, table.len());
        table
    }

    /// A new table of the container at `owner`, still this process's.
    pub(crate) fn create(
        heap: &Arc<Heap>,
        owner: u64,
        stamp: u64,
        wanted: Wanted,
    ) -> Result<(Self, Block), OutOfMemory> {
        let arena_at = (HEADER_LEN + wanted.section).next_multiple_of(UNIT);
        let len = block_len(arena_at + wanted.arena);
        if len > LONGEST || wanted.capacity > MAX_CAPACITY {
            let why = format!("a managed container takes at most {LONGEST} bytes");
            return Err(OutOfMemory::new(len, why));
        }
        let mut block = heap.alloc(len)?;
        let offset = block.at().offset;
        block[..arena_at as usize].fill(0);
        let table = Self { base: heap.reach(offset, len)?, offset };
        let header = table.header();
        header.mark.store(MARK ^ owner, Ordering::Relaxed);
        header.len.store(len, Ordering::Relaxed);
        header.stamp.store(stamp, Ordering::Relaxed);
        header.capacity.store(wanted.capacity, Ordering::Relaxed);
        header.arena_at.store(arena_at, Ordering::Relaxed);
        header.arena_used.store(arena_at, Ordering::Relaxed);
        Ok((table, block))
    }

    /// Whether a table of the container at `owner` lies there, other than the one with `stamp`.
    pub(crate) fn is_left_over(heap: &Heap, offset: u64, owner: u64, stamp: u64) -> bool {
        let table = Self { base: heap.address(offset, HEADER_LEN), offset };
        let header = table.header();
        header.mark.load(Ordering::Relaxed) == MARK ^ owner && table.stamp() != stamp
    }

    /// Gives the block back, if it is still the family's.
    pub(crate) fn give_back(self, heap: &Arc<Heap>) {
        let at = BlockRef { offset: self.offset, len: self.len() };
        // Reached, so that no error means that it is no longer the family's.
        // SAFETY: the container's alone, and its lock is held, or nobody can reach it any more.
        if let Ok(Some(block)) = unsafe { heap.take_over(at, Party::FAMILY) } {
            // What comes to lie here next is not to be taken for a table.
            self.header().mark.store(0, Ordering::Release);
            drop(block);
        }
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: every table starts with a header of atomics; the lock, or being the only one who
        // knows of it, keeps it where it is.
        unsafe { self.base.cast().as_ref() }
    }

    fn len(&self) -> u64 {
        self.header().len.load(Ordering::Relaxed)
    }

    pub(crate) fn stamp(&self) -> u64 {
        self.header().stamp.load(Ordering::Relaxed)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.header().capacity.load(Ordering::Relaxed)
    }

    pub(crate) fn has_handles(&self) -> bool {
        self.header().has_handles.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn note_handles(&self) {
        self.header().has_handles.store(1, Ordering::Relaxed);
    }

    /// The `idx`th of an array of atomics that starts `from` bytes into the container's section.
    ///
    /// # Safety
    /// `T` is an atomic, or a structure of atomics; the section has that many from there.
    #[inline]
    pub(crate) unsafe fn element<T>(&self, from: u64, idx: u64) -> &T {
        // SAFETY: the caller's promise; the block lives as long as the lock is held.
        unsafe {
            let first = self.base.as_ptr().add((HEADER_LEN + from) as usize);
            &*first.cast::<T>().add(idx as usize)
        }
    }

    /// The record with this number of units.
    #[inline]
    pub(crate) fn record(&self, at: u32) -> Record<'_> {
        // SAFETY: numbers of records are made by `take` only, and the lock is held.
        unsafe { Record::at(self.base.add((u64::from(at) * UNIT) as usize)) }
    }

    /// Room for a record of `len` bytes; `None`: the arena is full.
    pub(crate) fn take(&self, len: u64) -> Option<u32> {
        let (class, size) = class_of(len);
        if let Some(free) = self.header().free.get(class as usize) {
            let at = free.load(Ordering::Relaxed);
            if at != 0 {
                let record = self.record(at);
                free.store(record.head().extra.load(Ordering::Relaxed), Ordering::Relaxed);
                record.prepare(class);
                return Some(at);
            }
        }
        let header = self.header();
        let start = header.arena_used.load(Ordering::Relaxed);
        if start + size > self.len() {
            return None;
        }
        let at = (start / UNIT) as u32;
        // Before the arena grows by it: whoever walks it finds nothing but records.
        self.record(at).prepare_first(class, size);
        publish(&header.arena_used, start + size);
        Some(at)
    }

    /// The record is out of use, and its references are released.
    pub(crate) fn put(&self, at: u32) {
        let record = self.record(at);
        let class = record.class();
        if let Some(free) = self.header().free.get(class as usize) {
            record.head().extra.store(free.load(Ordering::Relaxed), Ordering::Relaxed);
            free.store(at, Ordering::Relaxed);
        }
    }

    /// Calls `f` with every record that has references, linked or not.
    pub(crate) fn for_each_record(&self, f: &mut dyn FnMut(u32)) {
        let header = self.header();
        let end = header.arena_used.load(Ordering::Acquire);
        let mut start = header.arena_at.load(Ordering::Relaxed);
        while start < end {
            let at = (start / UNIT) as u32;
            let record = self.record(at);
            start += match record.class() {
                TOO_LONG => record.record_len().next_multiple_of(UNIT),
                class => size_of_class(class),
            };
            if record.n_handles() != 0 {
                f(at);
            }
        }
    }

    /// After a death: nobody knows what the free lists are worth.
    pub(crate) fn forget_free(&self) {
        for free in &self.header().free {
            free.store(0, Ordering::Relaxed);
        }
    }
}

/// Bytes that a record of `len` takes in an arena.
pub(crate) fn room_for(len: u64) -> u64 {
    class_of(len).1
}

fn class_of(len: u64) -> (u32, u64) {
    if len <= 16 * UNIT {
        let units = len.div_ceil(UNIT).max(1);
        return (units as u32 - 1, units * UNIT);
    }
    match LONG_CLASSES.iter().position(|size| len <= *size) {
        Some(idx) => (16 + idx as u32, LONG_CLASSES[idx]),
        None => (TOO_LONG, len.next_multiple_of(UNIT)),
    }
}

fn size_of_class(class: u32) -> u64 {
    match class {
        0..16 => u64::from(class + 1) * UNIT,
        class => LONG_CLASSES[class as usize - 16],
    }
}

fn block_len(len: u64) -> u64 {
    match len {
        0..=LARGEST_POWER => len.next_power_of_two().max(SMALLEST),
        _ => len.next_multiple_of(REGION),
    }
}

#[cfg(test)]
mod tests {
    use super::{LONG_CLASSES, UNIT, class_of, size_of_class};

    #[test]
    fn every_length_has_room_in_its_class() {
        for len in 1..10_000 {
            let (class, size) = class_of(len);
            assert!(size >= len && size % UNIT == 0, "{len}: {size}");
            assert!(class == 255 || size == size_of_class(class));
            assert_eq!(class == 255, len > LONG_CLASSES[7], "{len}: {class}");
        }
    }
}
