//! A large file seen through windows: nothing is mapped before it is reached.
//!
//! A limit on address space (`RLIMIT_AS`) counts every mapping, also one that nothing may touch. So
//! no address space is reserved: a *hole* of it is chosen in which nothing lies, and each window of
//! the file is mapped at its place in that hole when somebody first reaches it. What lies at an
//! offset of the file is at the same distance from [`Windows::base`] in every process.
//!
//! A window is *kept* from its first use on, or *pinned* as long as it is used: what is neither is
//! unmapped again when the process may map no more. So a process with a low limit can see any
//! amount of large blocks one after the other.
//!
//! Guarantees:
//! - A window that is kept or pinned stays where it is; all go when the [`Windows`] are dropped.
//! - A window is never laid over what somebody else has mapped meanwhile: that is an error.
//! - A fork at any moment leaves the child with windows that it can use; see [`Windows::renew`].
//! - Core dumps contain none of it: the holes of the file would be filled for them.

use std::fs;
use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::memory::MemoryFile;
use crate::per_fork::PerFork;

/// The file is mapped in pieces of this size: small against what a limited process has, large
/// against what a system call costs (a page fault costs about the same, and there are 1,024).
pub const WINDOW: u64 = 4 << 20;

/// One file's windows in this process.
pub struct Windows {
    base: NonNull<u8>,
    len: u64,
    /// A bit for each window; set after it was mapped, and never cleared: it is kept.
    kept: Box<[AtomicU64]>,
    /// Of each window: how often it is pinned, and whether it is [`MAPPED`]. Only who has `mapping`
    /// changes that; what is pinned or kept stays mapped.
    states: Box<[AtomicU32]>,
    /// The same for windows in whose place something strange was found the last time: a hint.
    occupied: Box<[AtomicU64]>,
    /// Who maps does so alone: whatever else is found at a window's place is not this process's.
    mapping: PerFork<Mutex<()>>,
}

// SAFETY: plain memory that stays valid until drop; how it is accessed is the duty of those who
// hand out references into it.
unsafe impl Send for Windows {}
// SAFETY: as above.
unsafe impl Sync for Windows {}

/// In a window's state, beside the number of its pins.
const MAPPED: u32 = 1 << 31;

/// So far from other mappings the hole begins at least: what a process maps later comes to lie
/// beside those, and the hole of a small file would soon be full of it.
const MARGIN: u64 = 1 << 40;

/// How many places are tried where no hole of the wanted size can be asked for.
const N_CANDIDATES: u64 = 8;

impl Windows {
    /// Windows on the first `len` bytes of `file`, the first of them mapped.
    ///
    /// # Errors
    /// If this process has no address space of that size, or no room for one window.
    pub fn open(file: &MemoryFile, len: u64) -> io::Result<Self> {
        let mut last_error = Errno::NOMEM.into();
        for base in places(len)? {
            let n_words = len.div_ceil(WINDOW).div_ceil(64);
            let clear = || (0..n_words).map(|_| AtomicU64::new(0)).collect();
            let windows = Self {
                base,
                len,
                kept: clear(),
                states: zeros(len.div_ceil(WINDOW) as usize),
                occupied: clear(),
                mapping: PerFork::new(Mutex::new(())),
            };
            match windows.keep(file, 0, WINDOW.min(len)) {
                Ok(()) => return Ok(windows),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    /// Where the first byte is, or would be.
    #[inline]
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes of the file that can be reached.
    #[inline]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether all of the range is kept, and so can be touched.
    #[inline]
    pub fn is_kept(&self, offset: u64, len: u64) -> bool {
        if len == 0 {
            return true;
        }
        let (first, last) = (offset / WINDOW, (offset + len - 1) / WINDOW);
        // Acquire: meets the Release of `keep`.
        let word = |idx: u64| self.kept[idx as usize].load(Ordering::Acquire);
        if first == last {
            return word(first / 64) >> (first % 64) & 1 == 1;
        }
        (first / 64..=last / 64).all(|idx| {
            let wanted = bits(idx, first, last);
            word(idx) & wanted == wanted
        })
    }

    /// Whether all of the range is mapped just now: a hint, except for who has pinned it.
    pub fn is_mapped(&self, offset: u64, len: u64) -> bool {
        // Acquire: meets the AcqRel of `map_missing`.
        let is_mapped = |idx| self.state(idx).load(Ordering::Acquire) & MAPPED != 0;
        windows_of(offset, len).all(is_mapped)
    }

    /// Whether something strange was found in the place of a window of the range, the last time.
    pub fn is_occupied(&self, offset: u64, len: u64) -> bool {
        let (first, last) = (offset / WINDOW, (offset + len.max(1) - 1) / WINDOW);
        (first / 64..=last / 64).any(|idx| {
            self.occupied[idx as usize].load(Ordering::Relaxed) & bits(idx, first, last) != 0
        })
    }

    /// Maps what of the range is not mapped yet, and keeps all of it.
    ///
    /// # Errors
    /// `OutOfMemory` if this process may map no more, `AlreadyExists` if something else lies there;
    /// also if the file's descriptor was closed by the program.
    /// Windows in front of the one that failed may be mapped.
    ///
    /// # Panics
    /// If the range is not inside the file's first [`Windows::len`] bytes.
    #[cold]
    pub fn keep(&self, file: &MemoryFile, offset: u64, len: u64) -> io::Result<()> {
        self.check_range(offset, len);
        let _alone = self.mapping.lock().unwrap_or_else(PoisonError::into_inner);
        self.map_missing(file, windows_of(offset, len)).map_err(in_words)?;
        for idx in windows_of(offset, len) {
            // Release: meets the Acquire of `is_kept`.
            self.kept[idx as usize / 64].fetch_or(1 << (idx % 64), Ordering::Release);
        }
        Ok(())
    }

    /// Maps what of the range is not mapped yet, and pins all of it: to be
    /// [unpinned](Windows::unpin) as often.
    ///
    /// # Errors
    /// As [`Windows::keep`]; then nothing is pinned.
    ///
    /// # Panics
    /// As [`Windows::keep`].
    pub fn pin(&self, file: &MemoryFile, offset: u64, len: u64) -> io::Result<()> {
        self.check_range(offset, len);
        let mut is_mapped = true;
        for idx in windows_of(offset, len) {
            // AcqRel: who unmaps sees the pin, or we see that it is unmapped.
            is_mapped &= self.state(idx).fetch_add(1, Ordering::AcqRel) & MAPPED != 0;
        }
        if is_mapped { Ok(()) } else { self.map_pinned(file, offset, len) }
    }

    /// Takes back one pin of the whole range.
    pub fn unpin(&self, offset: u64, len: u64) {
        for idx in windows_of(offset, len) {
            // Release: what was done to it is done before it can be unmapped.
            let before = self.state(idx).fetch_sub(1, Ordering::AcqRel);
            debug_assert!(before & !MAPPED != 0, "a window was unpinned that is not pinned");
        }
    }

    #[cold]
    fn map_pinned(&self, file: &MemoryFile, offset: u64, len: u64) -> io::Result<()> {
        let alone = self.mapping.lock().unwrap_or_else(PoisonError::into_inner);
        let mapped = self.map_missing(file, windows_of(offset, len));
        drop(alone);
        mapped.map_err(|error| {
            self.unpin(offset, len);
            in_words(error)
        })
    }

    fn check_range(&self, offset: u64, len: u64) {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.len), "{offset}+{len} is outside of the file");
    }

    /// By who has `mapping`.
    fn map_missing(&self, file: &MemoryFile, wanted: Range<u64>) -> Result<(), Errno> {
        let mut at = wanted.start;
        while at < wanted.end {
            let is_missing = |idx: &u64| self.state(*idx).load(Ordering::Acquire) & MAPPED == 0;
            let n = (at..wanted.end).take_while(is_missing).count() as u64;
            if n == 0 {
                at += 1;
                continue;
            }
            match self.map_making_room(file, at, n) {
                // One by one, to learn which it is.
                Err(Errno::EXIST) => {
                    (at..at + n).try_for_each(|idx| self.map_window(file, idx))?;
                }
                other => {
                    other?;
                    (at..at + n).for_each(|idx| self.note_mapped(idx));
                }
            }
            at += n;
        }
        Ok(())
    }

    /// If the process may map no more, once more after what nobody uses was unmapped.
    fn map_making_room(&self, file: &MemoryFile, idx: u64, n: u64) -> Result<(), Errno> {
        match self.map_windows(file, idx, n) {
            Err(Errno::NOMEM) if self.unmap_unused() => self.map_windows(file, idx, n),
            other => other,
        }
    }

    /// Unmaps what is neither kept nor pinned; false: there was nothing.
    fn unmap_unused(&self) -> bool {
        let mut n_unmapped = 0;
        for idx in 0..self.states.len() as u64 {
            let state = self.state(idx);
            // First a look: most are not mapped.
            let is_unused = state.load(Ordering::Relaxed) == MAPPED
                && self.kept[idx as usize / 64].load(Ordering::Relaxed) >> (idx % 64) & 1 == 0;
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            if is_unused && state.compare_exchange(MAPPED, 0, success, failure).is_ok() {
                self.unmap(idx, 1);
                n_unmapped += 1;
            }
        }
        n_unmapped > 0
    }

    /// Backs the range, which is mapped, with pages and maps them for writing, in one go instead of
    /// a fault for each.
    ///
    /// # Errors
    /// If the kernel cannot do that (before 5.14), or not now: nothing is certain then.
    ///
    /// # Panics
    /// If the range is not mapped.
    pub fn populate(&self, offset: u64, len: u64) -> io::Result<()> {
        assert!(self.is_mapped(offset, len));
        // SAFETY: mapped, and ours; the advice changes no byte of it.
        unsafe {
            let start = self.base.as_ptr().add(offset as usize).cast();
            rustix::mm::madvise(start, len as usize, Advice::LinuxPopulateWrite)?;
        }
        Ok(())
    }

    /// In the child of a fork, before anything else is reached: a thread that is not there may have
    /// been about to map. A window that it came to map and not to note is recognised later.
    pub fn renew(&self) {
        self.mapping.renew(Mutex::new(()));
    }

    fn state(&self, idx: u64) -> &AtomicU32 {
        &self.states[idx as usize]
    }

    fn note_mapped(&self, idx: u64) {
        // AcqRel: meets the Acquire of `is_mapped`.
        self.state(idx).fetch_or(MAPPED, Ordering::AcqRel);
        self.occupied[idx as usize / 64].fetch_and(!(1 << (idx % 64)), Ordering::Relaxed);
    }

    /// One window, which may be there already: from before a fork.
    fn map_window(&self, file: &MemoryFile, idx: u64) -> Result<(), Errno> {
        match self.map_making_room(file, idx, 1) {
            Err(Errno::EXIST) if self.lies_there(file, idx) => {}
            Err(Errno::EXIST) => {
                self.occupied[idx as usize / 64].fetch_or(1 << (idx % 64), Ordering::Relaxed);
                return Err(Errno::EXIST);
            }
            other => other?,
        }
        self.note_mapped(idx);
        Ok(())
    }

    fn unmap(&self, idx: u64, n: u64) {
        let offset = idx * WINDOW;
        let len = (n * WINDOW).min(self.len - offset) as usize;
        // SAFETY: windows of ours that nobody uses, nor can from here on.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().add(offset as usize).cast(), len) };
    }

    fn map_windows(&self, file: &MemoryFile, idx: u64, n: u64) -> Result<(), Errno> {
        let offset = idx * WINDOW;
        let len = (n * WINDOW).min(self.len - offset) as usize;
        let wanted = self.base.as_ptr().wrapping_add(offset as usize).cast();
        let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: replaces nothing, so it aliases nothing.
        let got =
            unsafe { rustix::mm::mmap(wanted, len, access, flags, file.intact_fd()?, offset)? };
        if got != wanted {
            // A kernel (before 4.17) that takes the address for a mere hint: something lies there.
            // SAFETY: mapped just now, and known to nobody.
            let _ = unsafe { rustix::mm::munmap(got, len) };
            return Err(Errno::EXIST);
        }
        // SAFETY: mapped just now; the advice changes no byte. That it may be refused costs nothing
        // but larger core dumps.
        let _ = unsafe { rustix::mm::madvise(got, len, Advice::LinuxDontDump) };
        Ok(())
    }

    /// Whether what lies in the window's place is that very window.
    fn lies_there(&self, file: &MemoryFile, idx: u64) -> bool {
        let Some(expected) = file.inode() else { return false };
        let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return false };
        let address = self.base.as_ptr() as u64 + idx * WINDOW;
        // Lines like `7f5c3a000000-7f5c3a021000 rw-s 00021000 00:01 4711 /memfd:name (deleted)`.
        let is_it = |line: &str| {
            let mut words = line.split_whitespace();
            let hex = |text: &str| u64::from_str_radix(text, 16).ok();
            let (start, end) = words.next()?.split_once('-')?;
            let (start, end) = (hex(start)?, hex(end)?);
            let offset = hex(words.nth(1)?)?;
            let inode = words.nth(1)?.parse::<u64>().ok()?;
            let is_whole = start <= address
                && address + WINDOW.min(self.len - idx * WINDOW) <= end
                && offset + (address - start) == idx * WINDOW;
            Some(is_whole && inode == expected)
        };
        maps.lines().any(|line| is_it(line) == Some(true))
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        let n = self.states.len() as u64;
        let mut at = 0;
        while at < n {
            let is_mapped = |idx: &u64| self.state(*idx).load(Ordering::Relaxed) & MAPPED != 0;
            let n_mapped = (at..n).take_while(is_mapped).count() as u64;
            if n_mapped > 0 {
                self.unmap(at, n_mapped);
            }
            at += n_mapped.max(1);
        }
    }
}

/// The numbers of the windows in which the range lies.
const fn windows_of(offset: u64, len: u64) -> Range<u64> {
    if len == 0 { 0..0 } else { offset / WINDOW..(offset + len - 1) / WINDOW + 1 }
}

/// Pages of zeros that are not touched before they are used.
fn zeros(n: usize) -> Box<[AtomicU32]> {
    let zeros = Box::into_raw(vec![0_u32; n].into_boxed_slice());
    // SAFETY: an atomic is the same in memory as its number, also in size and alignment.
    unsafe { Box::from_raw(zeros as *mut [AtomicU32]) }
}

/// What is wrong, for people.
fn in_words(error: Errno) -> io::Error {
    let why = match error {
        Errno::NOMEM | Errno::AGAIN => match getrlimit(Resource::As).current {
            Some(limit) => format!(
                "this process may map no more: its address space is limited to {limit} bytes \
                 (RLIMIT_AS, ulimit -v)"
            ),
            None => "the system lets this process map no more (vm.max_map_count, memory locks)"
                .to_owned(),
        },
        Errno::EXIST => "this program has mapped something else in its place".to_owned(),
        Errno::BADF => "this program has closed the descriptor of its shared memory".to_owned(),
        _ => return error.into(),
    };
    io::Error::new(io::Error::from(error).kind(), why)
}

/// Of the word `idx` of the bits, those of the windows `first..=last`.
const fn bits(idx: u64, first: u64, last: u64) -> u64 {
    let from = first.saturating_sub(idx * 64);
    let to = last - idx * 64;
    let up_to = if to >= 63 { u64::MAX } else { (1 << (to + 1)) - 1 };
    up_to & (u64::MAX << from)
}

/// Where `len` bytes could be mapped piece by piece: places that nothing lies in, as far as can be
/// told.
fn places(len: u64) -> io::Result<Vec<NonNull<u8>>> {
    let aligned = |address: u64| {
        let address = address.next_multiple_of(WINDOW) as usize;
        NonNull::new(ptr::without_provenance_mut::<u8>(address))
    };
    let whole = len.next_multiple_of(WINDOW);
    // In the middle: other mappings of the process grow into the hole from one of its ends.
    let with_margins = whole.checked_add(2 * MARGIN.max(whole));
    if let Some(hole) = with_margins.and_then(unmapped) {
        return Ok(aligned(hole + MARGIN.max(whole)).into_iter().collect());
    }
    let Some(limit) = getrlimit(Resource::As).current else { return Err(Errno::NOMEM.into()) };
    // Under the limit no hole can be asked for, and all that others map is less than the distance
    // between the places. They are the same each time, so that two holes do not overlap: the first
    // window of the second one finds its place taken.
    let distance = limit.min(MARGIN).next_multiple_of(WINDOW).max(whole);
    let near = unmapped(WINDOW).ok_or(Errno::NOMEM)? / distance * distance;
    let below = (2..2 + N_CANDIDATES).filter_map(|n| near.checked_sub(n * distance));
    let above = (1..=N_CANDIDATES).filter_map(|n| near.checked_add(n * distance));
    Ok(below.chain(above).filter_map(aligned).collect())
}

/// The address of a range that nothing lies in.
fn unmapped(len: u64) -> Option<u64> {
    let len = usize::try_from(len).ok()?;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh mapping at an address of the kernel's choice, given back untouched.
    unsafe {
        let start = rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags);
        let start = start.ok()?;
        rustix::mm::munmap(start, len).ok()?;
        Some(start as u64)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LEN: u64 = 200 * WINDOW;

    fn touch(windows: &Windows, offset: u64) {
        // SAFETY: mapped by the caller; nobody else knows the file.
        unsafe { windows.base().add(offset as usize).write(1) };
    }

    /// Something else in the place of a window; unmapped with what is returned.
    fn occupy(windows: &Windows, idx: u64) -> *mut std::ffi::c_void {
        let place = windows.base().as_ptr().wrapping_add((idx * WINDOW) as usize).cast();
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
        // SAFETY: replaces nothing.
        unsafe {
            rustix::mm::mmap_anonymous(place, 4096, ProtFlags::READ, flags).expect("it is free")
        }
    }

    #[test]
    fn only_windows_that_are_reached_are_mapped() {
        let file = MemoryFile::create("test", LEN).unwrap();
        let windows = Windows::open(&file, LEN).unwrap();
        assert!(windows.is_kept(0, WINDOW) && !windows.is_kept(0, WINDOW + 1));
        windows.keep(&file, 70 * WINDOW - 1, 2).unwrap();
        touch(&windows, 70 * WINDOW - 1);
        touch(&windows, 70 * WINDOW);
        assert!(windows.is_kept(69 * WINDOW, 2 * WINDOW));
        assert!(!windows.is_kept(68 * WINDOW, 2 * WINDOW) && !windows.is_kept(71 * WINDOW, 1));
        windows.keep(&file, 0, LEN).unwrap();
        assert!(windows.is_kept(0, LEN));
        touch(&windows, LEN - 1);
    }

    #[test]
    fn a_window_is_not_laid_over_what_somebody_else_has_mapped() {
        let file = MemoryFile::create("test", LEN).unwrap();
        let windows = Windows::open(&file, LEN).unwrap();
        let strange = occupy(&windows, 5);
        let error = windows.keep(&file, 0, 10 * WINDOW).expect_err("it is occupied");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(!windows.is_kept(5 * WINDOW, 1) && windows.is_occupied(0, 10 * WINDOW));
        assert!(windows.is_mapped(0, 5 * WINDOW) && !windows.is_occupied(0, 5 * WINDOW));
        windows.keep(&file, 6 * WINDOW, WINDOW).expect("its neighbours are not");
        // SAFETY: mapped above.
        unsafe { rustix::mm::munmap(strange, 4096).unwrap() };
        windows.keep(&file, 0, 10 * WINDOW).expect("it is free again");
        assert!(!windows.is_occupied(0, LEN));
    }

    #[test]
    fn a_window_that_a_fork_left_mapped_and_not_noted_is_recognised() {
        let file = MemoryFile::create("test", LEN).unwrap();
        let windows = Windows::open(&file, LEN).unwrap();
        windows.map_windows(&file, 7, 1).unwrap();
        touch(&windows, 7 * WINDOW);
        windows.keep(&file, 6 * WINDOW, 3 * WINDOW).expect("it is that window");
        // SAFETY: mapped just now.
        assert_eq!(unsafe { windows.base().add(7 * WINDOW as usize).read() }, 1);
    }

    #[test]
    fn what_is_pinned_stays_and_what_is_neither_kept_nor_pinned_makes_room() {
        let file = MemoryFile::create("test", LEN).unwrap();
        let windows = Windows::open(&file, LEN).unwrap();
        windows.pin(&file, 3 * WINDOW, 2 * WINDOW).unwrap();
        windows.pin(&file, 4 * WINDOW, 2 * WINDOW).unwrap();
        windows.keep(&file, 9 * WINDOW, 1).unwrap();
        touch(&windows, 4 * WINDOW);
        assert!(!windows.unmap_unused());
        windows.unpin(3 * WINDOW, 2 * WINDOW);
        assert!(windows.unmap_unused());
        assert!(!windows.is_mapped(3 * WINDOW, 1));
        assert!(windows.is_mapped(4 * WINDOW, 2 * WINDOW) && windows.is_kept(9 * WINDOW, 1));
        windows.unpin(4 * WINDOW, 2 * WINDOW);
        assert!(windows.unmap_unused() && !windows.unmap_unused());
        windows.pin(&file, 4 * WINDOW, 1).unwrap();
        // SAFETY: mapped just now.
        assert_eq!(unsafe { windows.base().add(4 * WINDOW as usize).read() }, 1);
    }

    #[test]
    fn what_the_process_maps_later_does_not_come_to_lie_in_the_hole_of_a_small_file() {
        let file = MemoryFile::create("test", LEN).unwrap();
        let windows = Windows::open(&file, LEN).unwrap();
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let map = |len| {
            // SAFETY: a fresh mapping at an address of the kernel's choice.
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags) }
        };
        let len = LEN as usize;
        let strange: Vec<_> = (0..4).map(|_| map(len).expect("room")).collect();
        windows.keep(&file, 0, LEN).expect("nothing lies there");
        for start in strange {
            // SAFETY: mapped above.
            unsafe { rustix::mm::munmap(start, len).unwrap() };
        }
    }

    #[test]
    fn two_files_have_two_holes_that_do_not_overlap() {
        let file = MemoryFile::create("test", 1 << 40).unwrap();
        let all: Vec<_> = (0..4).map(|_| Windows::open(&file, 1 << 40).unwrap()).collect();
        let mut bases: Vec<_> = all.iter().map(|windows| windows.base().as_ptr() as u64).collect();
        bases.sort_unstable();
        assert!(bases.windows(2).all(|pair| pair[1] - pair[0] >= 1 << 40));
    }

    #[test]
    fn bits_of_a_range_are_counted_over_words() {
        let n_bits = |first, last| -> u32 {
            (first / 64..=last / 64).map(|idx| bits(idx, first, last).count_ones()).sum()
        };
        for (first, last) in [(0, 0), (0, 63), (0, 64), (63, 64), (5, 200), (64, 127), (127, 128)] {
            assert_eq!(u64::from(n_bits(first, last)), last - first + 1, "{first}..={last}");
        }
    }
}
