//! Files without a name, for where `memfd_create` is refused.
//!
//! They lie in a directory that others may write to as well, but nobody can reach them there: the
//! file has no entry in it, or loses it before anybody is told, and only its owner may open it.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::clock::monotonic_ns;

/// A directory with so much room is as good as any: the first such one is taken.
const PLENTY: u64 = 1 << 30;

const N_NAMES: u64 = 16;

/// An empty file of the calling user's alone, readable and writable.
///
/// # Errors
/// If no directory takes one.
pub(crate) fn create() -> io::Result<OwnedFd> {
    let mut last_error = Errno::NOENT;
    for directory in directories() {
        match create_in(&directory) {
            Ok(fd) => return Ok(fd),
            Err(error) => last_error = error,
        }
    }
    Err(last_error.into())
}

/// Where to try, the roomiest first. In containers `/dev/shm` often has 64 MiB.
fn directories() -> Vec<PathBuf> {
    let by_variable = ["XDG_RUNTIME_DIR", "TMPDIR"].map(env::var_os).into_iter().flatten();
    let [memory, others @ ..] = ["/dev/shm", "/tmp", "/var/tmp"].map(PathBuf::from);
    let all = [memory].into_iter().chain(by_variable.map(PathBuf::from)).chain(others);
    let mut all: Vec<_> = all.filter(|directory| directory.is_absolute()).collect();
    all.sort_by_key(|directory| std::cmp::Reverse(room_in(directory).min(PLENTY)));
    all
}

fn room_in(directory: &Path) -> u64 {
    rustix::fs::statvfs(directory).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn create_in(directory: &Path) -> Result<OwnedFd, Errno> {
    let access = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(directory, access | OFlags::TMPFILE, mode) {
        // Not every file system can.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
        other => return other,
    }
    for _ in 0..N_NAMES {
        let name = format!(".manyhands-{}-{:x}", std::process::id(), monotonic_ns());
        let path = directory.join(name);
        match rustix::fs::open(&path, access | OFlags::CREATE | OFlags::NOFOLLOW, mode) {
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
            Ok(fd) => {
                rustix::fs::unlink(&path)?;
                return Ok(fd);
            }
        }
    }
    Err(Errno::EXIST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unnamed_file_has_no_name_and_belongs_to_its_owner_alone() {
        let fd = create().unwrap();
        let stat = rustix::fs::fstat(&fd).unwrap();
        assert_eq!((stat.st_nlink, stat.st_mode & 0o777, stat.st_size), (0, 0o600, 0));
        let flags = rustix::io::fcntl_getfd(&fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        rustix::io::pwrite(&fd, b"x", 0).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_takes_none() {
        assert_eq!(create_in(Path::new("/nowhere/at/all")).err(), Some(Errno::NOENT));
    }
}
