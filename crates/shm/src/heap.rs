//! Creating the heap, joining it, and reaching its words.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use manyhands_sys::clock::monotonic_ns;
use manyhands_sys::memory::{Mapping, MemoryFile};
use manyhands_sys::per_fork::PerFork;

use crate::alloc::Local;
use crate::layout::{Header, Layout, MAGIC, PAGE, REGION, VERSION};
use crate::object::Registry;
use crate::party::Party;

/// One family's shared memory, seen from one of its members.
pub struct Heap {
    pub(crate) file: MemoryFile,
    pub(crate) map: Mapping,
    pub(crate) layout: Layout,
    /// The calling process's number; another one in a forked child.
    me: AtomicU32,
    pub(crate) local: PerFork<Mutex<Local>>,
    pub(crate) registry: PerFork<Registry>,
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
        let heap = Arc::new(Self::new(file, map, layout, Party::NOBODY));
        let header = heap.header();
        header.version.store(VERSION, Ordering::Relaxed);
        header.family.store(random(), Ordering::Relaxed);
        header.n_regions.store(n_regions, Ordering::Relaxed);
        // Release: meets the Acquire in `attach`.
        header.magic.store(MAGIC, Ordering::Release);
        let me = heap.new_party()?;
        assert!(heap.become_party(me), "nobody else knows a new heap");
        Ok(heap)
    }

    /// Joins the heap behind `fd` as the member `me`.
    ///
    /// # Errors
    /// `InvalidData` if the file is not a heap of this version.
    ///
    /// # Safety
    /// - If it begins as a heap does, it is one: nobody but members of its family writes there.
    /// - `me` is a number that a member got for the calling process, and no other process.
    pub unsafe fn attach(fd: OwnedFd, me: Party) -> io::Result<Arc<Self>> {
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
        let heap = Self::new(file, map, layout, me);
        if !heap.settle(me) {
            let text = "the process that started this one has ended before this one had begun, \
                        and its family goes on without both";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
        }
        Ok(Arc::new(heap))
    }

    fn new(file: MemoryFile, map: Mapping, layout: Layout, me: Party) -> Self {
        let me = AtomicU32::new(me.number());
        let local = PerFork::new(Mutex::new(Local::default()));
        Self { file, map, layout, me, local, registry: PerFork::new(Registry::default()) }
    }

    /// Who the caller's process is in the family.
    #[inline]
    pub fn me(&self) -> Party {
        Party::from_number(self.me.load(Ordering::Relaxed))
    }

    /// In a process that has just joined, or was just forked, and has allocated nothing yet. False:
    /// it came too late, see [`Heap::settle`], and is in no family.
    #[must_use]
    pub(crate) fn become_party(&self, me: Party) -> bool {
        let is_settled = self.settle(me);
        let me = if is_settled { me } else { Party::NOBODY };
        self.me.store(me.number(), Ordering::Relaxed);
        is_settled
    }

    /// In a forked process that could not join.
    pub(crate) fn become_nobody(&self) {
        self.me.store(Party::NOBODY.number(), Ordering::Relaxed);
    }

    /// What tells this family from all others.
    pub fn family(&self) -> u64 {
        self.header().family.load(Ordering::Relaxed)
    }

    /// The descriptor a new member needs for [`Heap::attach`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes of memory the whole heap takes from the system at the moment.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        self.file.resident_bytes()
    }

    /// Bytes of regions that are claimed at the moment, by all members, without warm ones.
    pub fn claimed_bytes(&self) -> u64 {
        let end = self.header().high_water.load(Ordering::Relaxed);
        let claimed = (0..end).filter(|idx| self.region_word(*idx).load(Ordering::Relaxed) != 0);
        (claimed.count() as u64 * REGION).saturating_sub(self.warm_bytes())
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

    /// Of a run: how many of its pages are there. The place is that of the freed counter, which
    /// only small regions have.
    pub(crate) fn committed_pages(&self, idx: u64) -> &AtomicU32 {
        self.freed_counter(idx)
    }

    pub(crate) fn block_word(&self, region_idx: u64, block_idx: u64) -> &AtomicU64 {
        let offset = self.layout.region_at(region_idx) + block_idx * 8;
        // SAFETY: small regions start with their block words, used only as atomics.
        unsafe { self.address(offset, 8).cast().as_ref() }
    }
}

/// Never 0.
fn random() -> u64 {
    RandomState::new().hash_one((std::process::id(), monotonic_ns())) | 1
}

impl OutOfMemory {
    /// `wanted` bytes could not be had, because: `why`.
    pub const fn new(wanted: u64, why: String) -> Self {
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
        f.debug_struct("Heap").field("me", &self.me()).finish_non_exhaustive()
    }
}
