//! Waiting for several descriptors at once, and a descriptor to wake such a wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use crate::clock::Deadline;
use crate::descriptor;

/// A counter that makes a [`poll`] return.
#[derive(Debug)]
pub struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// A counter at zero.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self { fd: rustix::event::eventfd(0, flags)? })
    }

    /// The same under a number that is not in a program's way.
    pub fn out_of_the_way(self) -> Self {
        Self { fd: descriptor::out_of_the_way(self.fd) }
    }

    /// In a forked child, which has the counter in common with its parent: one of its own, under
    /// the same number.
    pub fn renew(&mut self) -> io::Result<()> {
        let fresh = Self::new()?;
        Ok(rustix::io::dup3(&fresh.fd, &mut self.fd, rustix::io::DupFlags::CLOEXEC)?)
    }

    /// Makes the descriptor readable.
    pub fn notify(&self) {
        // A full counter is readable already.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable again.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sleeps until one of `fds` is readable (or hung up), the deadline comes, or a signal handler
/// ran. Returns the indexes of the ready ones, none in the latter two cases.
pub fn poll(fds: &[BorrowedFd<'_>], deadline: Option<Deadline>) -> io::Result<Vec<usize>> {
    let mut polled: Vec<_> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = deadline.map(|deadline| {
        let left = deadline.remaining();
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
    });
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = polled.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(idx, _)| idx).collect())
}
