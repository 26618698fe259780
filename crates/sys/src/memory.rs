//! Anonymous memory files and shared mappings of them.
//!
//! A [`MemoryFile`] has no name in any file system and vanishes with its last descriptor and
//! mapping. A [`Mapping`] reserves address space only: pages appear when touched.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SeekFrom};
use rustix::mm::{MapFlags, ProtFlags};

use crate::descriptor::not_standard;

/// An anonymous, sparse file in memory.
#[derive(Debug)]
pub struct MemoryFile {
    fd: OwnedFd,
    /// What tells the file from others: device and number.
    identity: Option<(u64, u64)>,
}

/// A whole memory file mapped shared, readable and writable; unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

/// What is committed at a time: fast enough to be done between two signals of a profiler.
const COMMIT_STEP: u64 = 4 << 20;

// SAFETY: the mapping is plain memory that stays valid until drop; how it is accessed is the
// duty of those who hand out references into it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl MemoryFile {
    /// A file of `len` bytes, none of them backed by a page yet.
    pub fn create(name: &str, len: u64) -> io::Result<Self> {
        let fd = not_standard(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
        rustix::fs::ftruncate(&fd, len)?;
        Ok(Self::from_fd(fd))
    }

    /// Takes over a descriptor received from another process.
    pub fn from_fd(fd: OwnedFd) -> Self {
        let identity = identity_of(&fd);
        Self { fd, identity }
    }

    /// Whether its descriptor is still this file's. A program that becomes a daemon closes all the
    /// descriptors it can count to; the numbers are then others', and must not be closed again.
    pub fn is_intact(&self) -> bool {
        identity_of(&self.fd) == self.identity
    }

    /// Maps the first `len` bytes.
    pub fn map(&self, len: usize) -> io::Result<Mapping> {
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                &self.fd,
                0,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { base, len })
    }

    /// Backs the range with pages now, so that a shortage is an error here and not a SIGBUS at
    /// the first touch.
    pub fn commit(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset + len;
        let mut at = offset;
        while at < end {
            // A signal undoes a call half done: in steps, a frequent one cannot prevent the whole.
            let step_bytes = COMMIT_STEP.min(end - at);
            let flags = FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(&self.fd, flags, at, step_bytes) {
                Ok(()) => at += step_bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives the pages of the range back to the system; it reads as zeros afterwards.
    pub fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.fd, flags, offset, len)?)
    }

    /// Bytes of pages the file holds at the moment.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.fd)?.st_blocks as u64 * 512)
    }
}

fn identity_of(fd: &OwnedFd) -> Option<(u64, u64)> {
    rustix::fs::fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

impl AsFd for MemoryFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Mapping {
    /// Address of the first byte.
    #[inline]
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes mapped.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Backs the range with pages and maps them for writing, in one go instead of a fault for each.
    ///
    /// # Errors
    /// If the kernel cannot do that (before 5.14), or not now: nothing is certain then.
    ///
    /// # Panics
    /// If the range is not inside the mapping.
    pub fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len));
        // SAFETY: inside the mapping; the advice changes no byte of it.
        unsafe {
            let start = self.base.as_ptr().add(offset).cast();
            rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxPopulateWrite)?;
        }
        Ok(())
    }

    /// Whether nothing is mapped.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are those of our own mmap; nobody may hold references past us.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A descriptor of the same memory file with a position of its own, at `offset`: for writers that
/// know nothing but `write`.
pub fn reopen_at(file: BorrowedFd<'_>, offset: u64) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::fs::seek(&fd, SeekFrom::Start(offset))?;
    Ok(fd)
}
