//! Creating the heap, joining it, and reaching its words.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32 as PrivateAtomicU32;
use std::sync::{Arc, Mutex};

use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use manyhands_sys::memory::{Mapping, MemoryFile};

use crate::alloc::Local;
use crate::layout::{Header, Layout, MAGIC, PAGE, Party, REGION, VERSION};

/// One family's shared memory, seen from one of its members.
pub struct Heap {
    pub(crate) file: MemoryFile,
    pub(crate) map: Mapping,
    pub(crate) layout: Layout,
    pub(crate) me: Party,
    pub(crate) local: Mutex<Local>,
    /// [`FORKS`] when this process joined.
    forks: u32,
}

/// How large a new heap may become.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapConfig {
    /// The most bytes all blocks together may take; by default only memory itself is the limit.
    pub limit_bytes: Option<u64>,
}

/// A block could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    pub(crate) wanted: u64,
    pub(crate) why: String,
}

/// How often this process has been forked away from the one it was.
static FORKS: PrivateAtomicU32 = PrivateAtomicU32::new(0);

/// In the child of a fork: blocks made before are the parent's, and dropping the child's copies
/// of them must not give them back. The child joins a heap of its own if it needs one.
pub fn forget_after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Address space that is tried first; a limit on address space makes it smaller.
const LARGEST_HEAP: u64 = 1 << 40;
const SMALLEST_HEAP: u64 = 64 << 20;

impl Heap {
    /// A new heap whose first member is the caller.
    pub fn create(config: HeapConfig) -> io::Result<Arc<Self>> {
        if let Some(limit) = config.limit_bytes {
            return Self::create_with(limit.div_ceil(REGION).clamp(4, LARGEST_HEAP / REGION));
        }
        let mut len = LARGEST_HEAP;
        loop {
            match Self::create_with(len / REGION) {
                Err(_) if len > SMALLEST_HEAP => len /= 4,
                other => return other,
            }
        }
    }

    fn create_with(n_regions: u64) -> io::Result<Arc<Self>> {
        let layout = Layout::new(n_regions);
        let file = MemoryFile::create("manyhands-heap", layout.file_len())?;
        let map = file.map(layout.file_len() as usize)?;
        let heap = Self::new(file, map, layout, Party::from_number(1));
        let header = heap.header();
        header.version.store(VERSION, Ordering::Relaxed);
        header.next_party.store(2, Ordering::Relaxed);
        header.n_regions.store(n_regions, Ordering::Relaxed);
        // Release: meets the Acquire in `attach`.
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Arc::new(heap))
    }

    /// Joins the heap behind `fd` as the member `me`.
    ///
    /// # Errors
    /// `InvalidData` if the file is not a heap of this version.
    pub fn attach(fd: OwnedFd, me: Party) -> io::Result<Arc<Self>> {
        let file = MemoryFile::from_fd(fd);
        let n_regions = {
            let page = file.map(PAGE as usize)?;
            // SAFETY: the page is mapped, aligned, and the header is made of atomics.
            let header = unsafe { page.base().cast::<Header>().as_ref() };
            // Acquire: meets the Release in `create_with`.
            let known = header.magic.load(Ordering::Acquire) == MAGIC
                && header.version.load(Ordering::Relaxed) == VERSION;
            if !known {
                let text = "this descriptor is not a manyhands heap of the same version; \
                            parent and worker must run the same installation";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            header.n_regions.load(Ordering::Relaxed)
        };
        let layout = Layout::new(n_regions);
        let map = file.map(layout.file_len() as usize)?;
        Ok(Arc::new(Self::new(file, map, layout, me)))
    }

    fn new(file: MemoryFile, map: Mapping, layout: Layout, me: Party) -> Self {
        let forks = FORKS.load(Ordering::Relaxed);
        Self { file, map, layout, me, local: Mutex::new(Local::default()), forks }
    }

    /// Whether the calling process is a forked copy of the member this heap was made for.
    pub(crate) fn is_copy(&self) -> bool {
        FORKS.load(Ordering::Relaxed) != self.forks
    }

    /// Who the caller's process is in the family.
    pub const fn me(&self) -> Party {
        self.me
    }

    /// A number for a process about to join.
    pub fn new_party(&self) -> Party {
        Party::from_number(self.header().next_party.fetch_add(1, Ordering::Relaxed))
    }

    /// The descriptor a new member needs for [`Heap::attach`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes of memory the whole heap takes from the system at the moment.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        self.file.resident_bytes()
    }

    /// Bytes of regions that are claimed at the moment, by all members.
    pub fn claimed_bytes(&self) -> u64 {
        let end = self.header().high_water.load(Ordering::Relaxed);
        let claimed = (0..end).filter(|idx| self.region_word(*idx).load(Ordering::Relaxed) != 0);
        claimed.count() as u64 * REGION
    }

    /// The address of an offset inside the file.
    ///
    /// # Panics
    /// If `offset..offset + len` is not inside the file.
    pub fn address(&self, offset: u64, len: u64) -> NonNull<u8> {
        let end = offset.checked_add(len).expect("offsets fit in 64 bits");
        assert!(end <= self.map.len() as u64, "offset {offset}+{len} lies outside the heap");
        // SAFETY: just checked to be inside the mapping.
        unsafe { self.map.base().add(offset as usize) }
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the first page is always mapped and holds a header of atomics.
        unsafe { self.map.base().cast().as_ref() }
    }

    pub(crate) fn region_word(&self, idx: u64) -> &AtomicU64 {
        assert!(idx < self.layout.n_regions);
        // SAFETY: the table has a word for each region; it is only ever used as an atomic.
        unsafe { self.address(self.layout.words_at + idx * 8, 8).cast().as_ref() }
    }

    /// How often the region became free again: what tells a stale [`crate::Block`] of it from a
    /// fresh one. Changed only by who releases the region, before the region's word is Free.
    pub(crate) fn release_count(&self, idx: u64) -> &AtomicU32 {
        assert!(idx < self.layout.n_regions);
        // SAFETY: as for `region_word`.
        unsafe { self.address(self.layout.releases_at + idx * 4, 4).cast().as_ref() }
    }

    /// How many blocks of the region were given back so far: a hint for its owner.
    pub(crate) fn freed_counter(&self, idx: u64) -> &AtomicU32 {
        assert!(idx < self.layout.n_regions);
        // SAFETY: as for `region_word`.
        unsafe { self.address(self.layout.freed_at + idx * 4, 4).cast().as_ref() }
    }

    pub(crate) fn block_word(&self, region_idx: u64, block_idx: u64) -> &AtomicU64 {
        let offset = self.layout.region_at(region_idx) + block_idx * 8;
        // SAFETY: small regions start with their block words, used only as atomics.
        unsafe { self.address(offset, 8).cast().as_ref() }
    }
}

impl OutOfMemory {
    pub(crate) const fn new(wanted: u64, why: String) -> Self {
        Self { wanted, why }
    }

    /// Bytes that were asked for.
    pub const fn wanted(&self) -> u64 {
        self.wanted
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of shared memory could not be had: {}", self.wanted, self.why)
    }
}

impl std::error::Error for OutOfMemory {}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").field("me", &self.me).finish_non_exhaustive()
    }
}
