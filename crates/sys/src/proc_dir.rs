//! A process held by its folder in `/proc`: what stands in where `pidfd_open` is refused.
//!
//! Old container runtimes answer EPERM or ENOSYS to system calls that are newer than their filter.
//! An open `/proc/<pid>` belongs to one process for ever: once that was reaped, every read in it
//! fails, also when the id was given to another. Like a pidfd it can be sent to relatives. Unlike
//! a pidfd it cannot be waited for, so whoever waits looks every [`LOOK`].
//!
//! Does not do: tell how a process ended that somebody else reaped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::pid::ExitStatus;

/// How often a process is looked at that cannot be waited for.
pub const LOOK: Duration = Duration::from_millis(5);

/// An open `/proc/<pid>`.
#[derive(Debug)]
pub(crate) struct ProcDir {
    fd: OwnedFd,
    pid: Pid,
}

/// What `/proc/<pid>/stat` says.
pub(crate) struct Stat {
    pub(crate) pid: u32,
    /// It has ended; a zombie has.
    pub(crate) is_dead: bool,
    /// Somebody has stopped it (SIGSTOP); not a debugger, which will let it go on.
    pub(crate) is_stopped: bool,
    /// When it started, in clock ticks since the machine did.
    pub(crate) started: u64,
    /// As `wait` would store it; of a zombie only, and 0 also for those who may not know.
    pub(crate) wait_status: i32,
}

impl ProcDir {
    /// The process that has the id `pid` right now.
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        let path = format!("/proc/{}", pid.as_raw_nonzero());
        let fd = match rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            // As `pidfd_open` says it.
            Err(rustix::io::Errno::NOENT) => return Err(rustix::io::Errno::SRCH.into()),
            fd => fd?,
        };
        Ok(Self { fd, pid })
    }

    /// Takes over a descriptor that somebody sent; given back if it is no such folder.
    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Self, OwnedFd> {
        let is_folder = rustix::fs::fstat(&fd)
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
        if !is_folder {
            return Err(fd);
        }
        // Of a process that was reaped nothing is known any more, and nothing is asked.
        let pid = stat_in(fd.as_fd()).and_then(|stat| Pid::from_raw(stat.pid as i32));
        Ok(Self { fd, pid: pid.unwrap_or(Pid::INIT) })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, pid: self.pid })
    }

    /// `None`: it was reaped.
    pub(crate) fn stat(&self) -> Option<Stat> {
        stat_in(self.fd.as_fd())
    }

    /// Whether it has ended (it may still be a zombie).
    pub(crate) fn has_exited(&self) -> bool {
        self.stat().is_none_or(|stat| stat.is_dead)
    }

    /// Sends a signal to a process that was there a moment ago. A kernel without pidfds has no
    /// better way: an id is given out again only after all others were.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), rustix::io::Errno> {
        match self.has_exited() {
            true => Err(rustix::io::Errno::SRCH),
            false => rustix::process::kill_process(self.pid, signal),
        }
    }

    /// What `waitid` can be asked about, while the process is not reaped.
    pub(crate) fn wait_id(&self) -> Option<WaitId<'_>> {
        self.stat().map(|_| WaitId::Pid(self.pid))
    }

    /// How it ended, while it is a zombie and the caller may know.
    pub(crate) fn status_of_zombie(&self) -> Option<ExitStatus> {
        let stat = self.stat().filter(|stat| stat.is_dead && stat.wait_status != 0)?;
        Some(ExitStatus::from_wait_status(stat.wait_status))
    }

    /// Sleeps until it has ended.
    pub(crate) fn wait_until_exited(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while !self.has_exited() {
            // A child of ours can be waited for, by its id.
            match rustix::process::waitid(WaitId::Pid(self.pid), options) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }
}

impl AsFd for ProcDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn stat_in(folder: BorrowedFd<'_>) -> Option<Stat> {
    let file = rustix::fs::openat(folder, c"stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .ok()?;
    // Without allocating: a template that looks may be about to fork.
    let mut text = [0; 1024];
    let n_bytes = rustix::io::read(&file, &mut text).ok()?;
    parse(&text[..n_bytes])
}

/// What the text of a `/proc/<pid>/stat` says.
pub(crate) fn parse(text: &[u8]) -> Option<Stat> {
    let pid = text.split(|byte| *byte == b' ').next()?;
    let pid = str::from_utf8(pid).ok()?.parse().ok()?;
    // The name, in parentheses, may hold anything.
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = str::from_utf8(&text[name_end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let (is_dead, is_stopped) = (matches!(state, "Z" | "X" | "x"), state == "T");
    let started = fields.nth(18)?.parse().ok()?;
    let wait_status = fields.last().and_then(|field| field.parse().ok()).unwrap_or(0);
    Some(Stat { pid, is_dead, is_stopped, started, wait_status })
}
