//! Numbers of descriptors that are not in a program's way, and directories by descriptor.
//!
//! A call that gives a program one descriptor may need others beside it. A program that looked
//! which numbers are free, and makes that call only then, would overwrite them. And a program that
//! has closed its standard output may print all the same.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// Programs count on the numbers below: `select` takes 1,024, tests use up the first 256.
const LOWEST: i32 = 512;

/// The same under a higher number; where there is none to be had, as it was.
pub fn out_of_the_way(fd: OwnedFd) -> OwnedFd {
    rustix::io::fcntl_dupfd_cloexec(&fd, LOWEST).unwrap_or(fd)
}

/// The same under a number that is no standard input or output, where what is printed would land.
pub fn not_standard(fd: OwnedFd) -> OwnedFd {
    if fd.as_raw_fd() > 2 {
        return fd;
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, 3).unwrap_or(fd)
}

/// The working directory, also one that has no name any more.
pub fn open_current_directory() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(c".", flags, Mode::empty())?)
}

/// Makes it the working directory.
pub fn enter_directory(directory: &impl AsFd) -> io::Result<()> {
    Ok(rustix::process::fchdir(directory)?)
}
