//! Anonymous memory files and shared mappings of them.
//!
//! A [`MemoryFile`] has no name in any file system and vanishes with its last descriptor and
//! mapping. Where `memfd_create` is refused it is a file without a name in a directory for such
//! (see [`unnamed`]). What the file system cannot do is done by writing zeros.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::descriptor::not_standard;
use crate::refused::{explained, is_refusal};
use crate::unnamed;

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
    ///
    /// # Errors
    /// Where the system has no room for it, or allows no file of that size or of this sort.
    pub fn create(name: &str, len: u64) -> io::Result<Self> {
        let fd = match rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC) {
            Err(refused) if is_refusal(refused) => unnamed::create()
                .map_err(|_| explained(refused.into(), "shared memory", "memfd_create"))?,
            other => other?,
        };
        let fd = not_standard(fd);
        set_len(fd.as_fd(), len)?;
        Ok(Self::from_fd(fd))
    }

    /// The descriptor alone.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
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

    /// The descriptor, if it is still this file's: what is done to another's file is harm.
    pub(crate) fn intact_fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        if self.is_intact() { Ok(self.fd.as_fd()) } else { Err(Errno::BADF) }
    }

    /// The file's number, by which the system's lists name it.
    pub(crate) fn inode(&self) -> Option<u64> {
        self.identity.map(|(_device, inode)| inode)
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
    ///
    /// # Errors
    /// If there is no room, or the descriptor is not this file's any more.
    pub fn commit(&self, offset: u64, len: u64) -> io::Result<()> {
        let fd = self.intact_fd()?;
        let end = offset + len;
        let mut at = offset;
        while at < end {
            // A signal undoes a call half done: in steps, a frequent one cannot prevent the whole.
            let step_bytes = COMMIT_STEP.min(end - at);
            let flags = FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(fd, flags, at, step_bytes) {
                Ok(()) => at += step_bytes,
                Err(Errno::INTR) => {}
                Err(error) if is_unknown(error) => return self.write_zeros(at, end - at),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives the pages of the range back to the system, where it takes them; the range reads as
    /// zeros afterwards.
    ///
    /// # Errors
    /// If the range does not read as zeros.
    pub fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        let fd = self.intact_fd()?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        loop {
            return match rustix::fs::fallocate(fd, flags, offset, len) {
                Err(Errno::INTR) => continue,
                Err(error) if is_unknown(error) => self.write_zeros(offset, len),
                other => Ok(other?),
            };
        }
    }

    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let end = offset + len;
        // To write beyond it is answered by a signal that ends the program.
        if getrlimit(Resource::Fsize).current.is_some_and(|limit| end > limit) {
            return Err(Errno::FBIG.into());
        }
        let mut at = offset;
        while at < end {
            let n_bytes = (ZEROS.len() as u64).min(end - at) as usize;
            match rustix::io::pwrite(&self.fd, &ZEROS[..n_bytes], at) {
                Ok(n_written) => at += n_written as u64,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
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

/// Whether a file system, a kernel or a filter around the program cannot do what was asked.
fn is_unknown(error: Errno) -> bool {
    is_refusal(error) || error == Errno::OPNOTSUPP
}

/// Makes the file `len` bytes long. What is inside its length is asked for no limit later.
fn set_len(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    // Two threads would restore each other's limits.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Rlimit { current, maximum } = getrlimit(Resource::Fsize);
    // Asked first: to exceed it is answered by a signal that ends the program.
    if current.is_none_or(|limit| len <= limit) {
        return Ok(rustix::fs::ftruncate(fd, len)?);
    }
    if let Some(limit) = maximum.filter(|limit| len > *limit) {
        let text = format!(
            "{len} bytes of shared memory need a file of that length, and files may have {limit} \
             bytes: raise the limit on the size of files (RLIMIT_FSIZE, ulimit -f)"
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    // The file is memory, sparse, and not what the limit is for.
    let raised = Rlimit { current: Some(len), maximum };
    setrlimit(Resource::Fsize, raised)?;
    let done = rustix::fs::ftruncate(fd, len);
    setrlimit(Resource::Fsize, Rlimit { current, maximum })?;
    Ok(done?)
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
