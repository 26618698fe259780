//! What the heap's file looks like: header, parties, region table, regions.
//!
//! ```text
//! offset 0          header (one page)
//!        4096       parties        64 bytes each      who is in the family, see `members.rs`
//!        …          region table   16 bytes a region  who owns it, and what is known of it
//!        data_at    region 0, region 1, …            256 KiB each
//! ```
//!
//! A region is free, cut into equal small blocks, or part of a run of regions that is one large
//! block. A free region reads as zeros.
//!
//! A process maps the file in windows. Header and parties lie in the first one, which every member
//! has, and so do the lines of the first regions: of some 60 GiB in a heap of the largest size. No
//! region lies in two windows.

use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};

use manyhands_sys::windows::WINDOW;

use crate::party::{PARTIES_LEN, Party};

/// Where a block lies: the same in every member of the family. Plain data; holds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BlockRef {
    /// Bytes from the start of the heap.
    pub offset: u64,
    /// Bytes asked for.
    pub len: u64,
}

/// First page of the file.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    /// The serial number the next object gets.
    pub(crate) next_serial: AtomicU32,
    pub(crate) n_regions: AtomicU64,
    /// No region at or beyond this index was ever claimed.
    pub(crate) high_water: AtomicU64,
    /// A hint: below it there is probably no free region.
    pub(crate) low_hint: AtomicU64,
    /// What tells this family from all others.
    pub(crate) family: AtomicU64,
    /// Who sweeps or trims at the moment; 0: nobody.
    pub(crate) undertaker: AtomicU64,
    /// Bytes that all members have ever asked the system for; see `charge.rs`.
    pub(crate) committed: AtomicU64,
    /// Not 0: somebody could not finish a burial, for want of address space.
    pub(crate) n_unfinished: AtomicU64,
}

/// What is known of a region.
#[repr(C)]
pub(crate) struct RegionLine {
    /// See [`RegionWord`].
    pub(crate) word: AtomicU64,
    /// Of a small region: how many blocks of it were given back so far, a hint for its owner. Of a
    /// run: how many of its pages are there.
    pub(crate) counter: AtomicU32,
    /// How often the region became free again: what tells a stale [`crate::Block`] of it from a
    /// fresh one. Changed only by who releases the region, before the region's word is Free.
    pub(crate) n_released: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Header>() == 72 && size_of::<RegionLine>() as u64 == LINE);

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"manyhand");
pub(crate) const VERSION: u32 = 5;
pub(crate) const PAGE: u64 = 4096;
pub(crate) const REGION: u64 = 256 * 1024;
const LINE: u64 = 16;

const _: () = assert!(WINDOW.is_multiple_of(REGION) && PARTIES_AT + PARTIES_LEN <= WINDOW);

/// Small blocks are powers of two from 256 bytes to 64 KiB.
pub(crate) const N_CLASSES: usize = 9;
pub(crate) const SMALLEST: u64 = 256;
pub(crate) const LARGEST_SMALL: u64 = SMALLEST << (N_CLASSES - 1);

/// Where the table of parties lies.
pub(crate) const PARTIES_AT: u64 = PAGE;
const LINES_AT: u64 = PARTIES_AT + PARTIES_LEN;

/// Where the table and the regions of a heap with `n_regions` lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) n_regions: u64,
    data_at: u64,
}

impl Layout {
    pub(crate) const fn new(n_regions: u64) -> Self {
        let data_at = (LINES_AT + n_regions * LINE).next_multiple_of(REGION);
        Self { n_regions, data_at }
    }

    /// Where the lines of `n` regions from `idx` on are, and how many bytes that is.
    pub(crate) const fn lines_at(idx: u64, n: u64) -> (u64, u64) {
        (LINES_AT + idx * LINE, n * LINE)
    }

    /// The first region that lies in a window behind that of the region `idx`.
    pub(crate) const fn next_window(&self, idx: u64) -> u64 {
        let end = (self.region_at(idx) / WINDOW + 1) * WINDOW;
        (end - self.data_at) / REGION
    }

    pub(crate) const fn file_len(&self) -> u64 {
        self.data_at + self.n_regions * REGION
    }

    pub(crate) const fn region_at(&self, idx: u64) -> u64 {
        self.data_at + idx * REGION
    }

    /// The region an offset lies in, if it lies in one.
    pub(crate) const fn region_of(&self, offset: u64) -> Option<u64> {
        if offset < self.data_at || offset >= self.file_len() {
            return None;
        }
        Some((offset - self.data_at) / REGION)
    }
}

/// The class of the smallest small block that takes `len` bytes; `None`: it needs a run.
pub(crate) const fn class_of(len: u64) -> Option<usize> {
    if len > LARGEST_SMALL {
        return None;
    }
    let size = if len < SMALLEST { SMALLEST } else { len.next_power_of_two() };
    Some((size.trailing_zeros() - SMALLEST.trailing_zeros()) as usize)
}

pub(crate) const fn class_size(class: usize) -> u64 {
    SMALLEST << class
}

/// Blocks in a small region: each needs its bytes and an 8-byte word in front.
#[inline]
pub(crate) const fn n_blocks(class: usize) -> u64 {
    N_BLOCKS[class]
}

/// Of each class: counted once, as every look at a block asks.
const N_BLOCKS: [u64; N_CLASSES] = {
    let mut all = [0; N_CLASSES];
    let mut class = 0;
    while class < N_CLASSES {
        all[class] = count_blocks(class);
        class += 1;
    }
    all
};

const fn count_blocks(class: usize) -> u64 {
    let mut n = REGION / class_size(class);
    while blocks_at(n) + n * class_size(class) > REGION {
        n -= 1;
    }
    n
}

/// Where, within its region, the first of `n` blocks lies.
pub(crate) const fn blocks_at(n: u64) -> u64 {
    (n * 8).next_multiple_of(64)
}

/// The word of a region. One store changes what the region is and whose.
///
/// | kind    | owner                        | detail            |
/// |---------|------------------------------|-------------------|
/// | Free    | nobody                       | 0                 |
/// | Small   | who allocates blocks from it | size class        |
/// | Run     | who holds the large block    | regions in it     |
/// | Tail    | nobody: part of the run before it | 0            |
/// | Leaving | who gives the run back       | regions in it     |
/// | Warm    | nobody: its pages are kept   | regions in it     |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegionWord(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegionKind {
    Free,
    Small,
    Run,
    Tail,
    Leaving,
    Warm,
}

impl RegionWord {
    pub(crate) const FREE: Self = Self(0);
    pub(crate) const TAIL: Self = Self::new(RegionKind::Tail, 0, 0);

    const fn new(kind: RegionKind, owner: u32, detail: u64) -> Self {
        Self(owner as u64 | (kind as u64) << 32 | detail << 40)
    }

    pub(crate) const fn small(owner: Party, class: usize) -> Self {
        Self::new(RegionKind::Small, owner.number(), class as u64)
    }

    pub(crate) const fn run(owner: Party, n_regions: u64) -> Self {
        Self::new(RegionKind::Run, owner.number(), n_regions)
    }

    pub(crate) const fn warm(n_regions: u64) -> Self {
        Self::new(RegionKind::Warm, 0, n_regions)
    }

    /// The same run while its holder gives it back: from here on it can only become free.
    pub(crate) const fn leaving(self) -> Self {
        Self::new(RegionKind::Leaving, self.owner().number(), self.detail())
    }

    pub(crate) const fn kind(self) -> RegionKind {
        match (self.0 >> 32) & 0xff {
            1 => RegionKind::Small,
            2 => RegionKind::Run,
            3 => RegionKind::Tail,
            4 => RegionKind::Leaving,
            5 => RegionKind::Warm,
            _ => RegionKind::Free,
        }
    }

    pub(crate) const fn owner(self) -> Party {
        Party::from_word(self.0 as u32)
    }

    /// Size class of a small region, number of regions of a run.
    pub(crate) const fn detail(self) -> u64 {
        self.0 >> 40
    }

    pub(crate) fn load(word: &AtomicU64) -> Self {
        // Acquire: meets the Release of `replace`; what the former owner did is visible.
        Self(word.load(Ordering::Acquire))
    }

    /// Changes the word from `self` to `new`; false if it was no longer `self`.
    pub(crate) fn replace(self, word: &AtomicU64, new: Self) -> bool {
        // Release: meets the Acquire of `load` and of the next `replace`.
        word.compare_exchange(self.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The word of a small block: its holder (0: free), and how often it was allocated, so that a
/// stale reference can be told from a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockWord(u64);

impl BlockWord {
    pub(crate) fn load(word: &AtomicU64) -> Self {
        // Acquire: meets the Release of `replace`.
        Self(word.load(Ordering::Acquire))
    }

    pub(crate) const fn is_free(self) -> bool {
        self.0 as u32 == 0
    }

    pub(crate) const fn holder(self) -> Party {
        Party::from_word(self.0 as u32)
    }

    /// How often the block was allocated since its region was claimed.
    pub(crate) const fn n_allocated(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) const fn allocated_by(self, party: Party) -> Self {
        Self(((self.0 >> 32).wrapping_add(1) << 32) | party.number() as u64)
    }

    pub(crate) const fn held_by(self, party: Party) -> Self {
        Self((self.0 >> 32) << 32 | party.number() as u64)
    }

    pub(crate) const fn freed(self) -> Self {
        Self((self.0 >> 32) << 32)
    }

    pub(crate) fn replace(self, word: &AtomicU64, new: Self) -> bool {
        // Release: what the holder did to the block's bytes is visible to the next holder.
        word.compare_exchange(self.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_fits_its_region() {
        for class in 0..N_CLASSES {
            let n = n_blocks(class);
            assert!(n >= 3, "class {class} holds {n} blocks");
            assert!(blocks_at(n) + n * class_size(class) <= REGION);
        }
    }

    #[test]
    fn a_length_gets_the_smallest_class_that_takes_it() {
        assert_eq!(class_of(0), Some(0));
        assert_eq!(class_of(256), Some(0));
        assert_eq!(class_of(257), Some(1));
        assert_eq!(class_of(LARGEST_SMALL), Some(N_CLASSES - 1));
        assert_eq!(class_of(LARGEST_SMALL + 1), None);
    }

    #[test]
    fn a_region_word_keeps_its_parts() {
        let word = RegionWord::run(Party::FAMILY, 0xff_ffff);
        assert_eq!(
            (word.kind(), word.owner().number(), word.detail()),
            (RegionKind::Run, u32::MAX, 0xff_ffff)
        );
    }
}
