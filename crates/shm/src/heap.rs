//! Creating the heap, joining it, and reaching its words.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use manyhands_sys::clock::monotonic_ns;
use manyhands_sys::memory::MemoryFile;
use manyhands_sys::per_fork::PerFork;
use manyhands_sys::windows::{WINDOW, Windows};

use crate::budget::Budget;
use crate::layout::{BlockRef, Header, Layout, MAGIC, PAGE, REGION, RegionLine, VERSION, class_of};
use crate::local::Local;
use crate::object::registry::Registry;
use crate::out_of_memory::OutOfMemory;
use crate::party::Party;

/// One family's shared memory, seen from one of its members.
pub struct Heap {
    pub(crate) file: MemoryFile,
    pub(crate) windows: Windows,
    pub(crate) layout: Layout,
    pub(crate) budget: Budget,
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

/// What is tried first. It costs nothing before it is used; smaller ones are for systems that
/// allow no file, or have no address space, of that size.
const LARGEST_HEAP: u64 = 1 << 40;
const SMALLEST_HEAP: u64 = 4 << 20;

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
        let windows = Windows::open(&file, layout.file_len())?;
        let heap = Arc::new(Self::new(file, windows, layout, Party::NOBODY));
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
    /// `InvalidData` if the file is not a heap of this version; also if this process has no room to
    /// map its first window.
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
        let windows = Windows::open(&file, layout.file_len())?;
        let heap = Self::new(file, windows, layout, me);
        heap.budget.begin(heap.header().committed.load(Ordering::Relaxed));
        if !heap.settle(me) {
            let text = "the process that started this one has ended before this one had begun, \
                        and its family goes on without both";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
        }
        Ok(Arc::new(heap))
    }

    fn new(file: MemoryFile, windows: Windows, layout: Layout, me: Party) -> Self {
        Self {
            file,
            windows,
            layout,
            budget: Budget::default(),
            me: AtomicU32::new(me.number()),
            local: PerFork::new(Mutex::new(Local::default())),
            registry: PerFork::new(Registry::default()),
        }
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
        let is_claimed = |idx: &u64| {
            self.reach_lines(*idx, 1).is_ok() && self.region_word(*idx).load(Ordering::Relaxed) != 0
        };
        let n_claimed = (0..end).filter(is_claimed).count() as u64;
        (n_claimed * REGION).saturating_sub(self.warm_bytes())
    }

    /// The address of an offset inside the file, for what this process may see for the first time:
    /// it is mapped then, and stays, also in a forked child.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more.
    #[inline]
    pub fn reach(&self, offset: u64, len: u64) -> Result<NonNull<u8>, OutOfMemory> {
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= self.windows.len());
        if !is_inside || !self.windows.is_kept(offset, len) {
            self.map(offset, len, is_inside)?;
        }
        Ok(self.place(offset))
    }

    /// Reaches the place of a block for as long as it is used: to be [left](Self::leave_place)
    /// again. Of a large block the address space is used for others afterwards, if it is short.
    pub(crate) fn hold_place(&self, at: BlockRef) -> Result<(), OutOfMemory> {
        if class_of(at.len).is_some() {
            return self.reach(at.offset, at.len).map(drop);
        }
        let pinned = self.windows.pin(&self.file, at.offset, at.len);
        pinned.map_err(|error| OutOfMemory::new(at.len, error.to_string()))
    }

    pub(crate) fn leave_place(&self, at: BlockRef) {
        if class_of(at.len).is_none() {
            self.windows.unpin(at.offset, at.len);
        }
    }

    /// Where an offset inside the file is, or would be: for what is known to be reached.
    #[inline]
    pub(crate) fn place(&self, offset: u64) -> NonNull<u8> {
        debug_assert!(offset <= self.windows.len());
        // SAFETY: inside the file, so the address does not wrap.
        unsafe { self.windows.base().add(offset as usize) }
    }

    /// The address of an offset inside the file that was [reached](Self::reach) before, or lies in
    /// a block of this process's, or an object that it has opened.
    ///
    /// # Panics
    /// If `offset..offset + len` is not inside the file; or if it was not reached before and cannot
    /// be now.
    #[inline]
    pub fn address(&self, offset: u64, len: u64) -> NonNull<u8> {
        let end = offset.checked_add(len).expect("offsets fit in 64 bits");
        assert!(end <= self.windows.len(), "offset {offset}+{len} lies outside the heap");
        if !self.windows.is_kept(offset, len)
            && let Err(error) = self.map(offset, len, true)
        {
            panic!("shared memory was used before it was reached: {error}");
        }
        self.place(offset)
    }

    #[cold]
    fn map(&self, offset: u64, len: u64, is_inside: bool) -> Result<(), OutOfMemory> {
        if !is_inside {
            return Err(OutOfMemory::new(len, "no part of the heap lies there".to_owned()));
        }
        let mapped = self.windows.keep(&self.file, offset, len);
        mapped.map_err(|error| OutOfMemory::new(len, error.to_string()))
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the first window is always mapped and starts with a header of atomics.
        unsafe { self.windows.base().cast().as_ref() }
    }

    /// Before the lines of `n` regions are looked at. Those of the first regions are in the window
    /// that every member has.
    #[inline]
    pub(crate) fn reach_lines(&self, idx: u64, n: u64) -> Result<(), OutOfMemory> {
        let (at, len) = Layout::lines_at(idx, n);
        if at + len <= WINDOW { Ok(()) } else { self.reach(at, len).map(drop) }
    }

    fn line(&self, idx: u64) -> &RegionLine {
        assert!(idx < self.layout.n_regions);
        let (at, len) = Layout::lines_at(idx, 1);
        let line = if at + len <= WINDOW { self.place(at) } else { self.address(at, len) };
        // SAFETY: the table has a line for each region, aligned and made of atomics; the first
        // window is always mapped.
        unsafe { line.cast().as_ref() }
    }

    /// The lines of the first `n` regions, which are in the window that every member has.
    ///
    /// # Panics
    /// If they are not.
    pub(crate) fn first_lines(&self, n: u64) -> &[RegionLine] {
        let (at, len) = Layout::lines_at(0, n.min(self.layout.n_regions));
        assert!(at + len <= WINDOW, "the first window does not hold so many lines");
        // SAFETY: inside the table, aligned and made of atomics; the first window is always mapped.
        unsafe {
            let first = self.place(at).cast::<RegionLine>();
            std::slice::from_raw_parts(first.as_ptr(), len as usize / size_of::<RegionLine>())
        }
    }

    pub(crate) fn region_word(&self, idx: u64) -> &AtomicU64 {
        &self.line(idx).word
    }

    pub(crate) fn release_count(&self, idx: u64) -> &AtomicU32 {
        &self.line(idx).n_released
    }

    pub(crate) fn freed_counter(&self, idx: u64) -> &AtomicU32 {
        &self.line(idx).counter
    }

    pub(crate) fn committed_pages(&self, idx: u64) -> &AtomicU32 {
        &self.line(idx).counter
    }

    /// Of a small region that was reached.
    pub(crate) fn block_word(&self, region_idx: u64, block_idx: u64) -> &AtomicU64 {
        let offset = self.layout.region_at(region_idx) + block_idx * 8;
        debug_assert!(self.windows.is_mapped(offset, 8));
        // SAFETY: small regions start with their block words, used only as atomics.
        unsafe { self.place(offset).cast().as_ref() }
    }
}

/// Never 0.
fn random() -> u64 {
    RandomState::new().hash_one((std::process::id(), monotonic_ns())) | 1
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").field("me", &self.me()).finish_non_exhaustive()
    }
}
