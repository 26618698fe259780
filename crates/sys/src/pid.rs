//! Processes held by descriptor: signals and waits that can never hit a reused process id.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

pub use libc::{SIGKILL, SIGTERM};
pub use rustix::process::Signal;

/// A process, dead or alive, that cannot be mistaken for another.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It ended by itself with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It ended, but nobody was left who could tell how.
    Unknown,
}

/// Kills a process that no descriptor can be had for. Only for one that was alive a moment ago: the
/// id might be another's some day.
pub fn kill_by_id(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

impl PidFd {
    /// The process that has the id `pid` right now.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { fd: rustix::process::pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// The calling process.
    pub fn current() -> io::Result<Self> {
        Self::open(std::process::id())
    }

    /// Takes over a descriptor received from another process.
    pub const fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Another descriptor of the same process.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    /// Sends a signal; that the process is gone already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.fd, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Whether the process has ended (it may still be a zombie).
    pub fn has_exited(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(1))
    }

    /// Sleeps until the process has ended.
    pub fn wait_until_exited(&self) {
        loop {
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            if let Ok(1) = rustix::event::poll(&mut fds, None) {
                return;
            }
        }
    }

    /// Kills a child of ours and reaps it.
    pub fn end_now(&self) {
        if self.signal(Signal::KILL).is_ok() {
            self.wait_until_exited();
        }
        let _ = self.try_reap();
    }

    /// Reaps the process if it is a child of ours that has ended. `None`: it still runs.
    pub fn try_reap(&self) -> Option<ExitStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        loop {
            return match rustix::process::waitid(WaitId::PidFd(self.fd.as_fd()), options) {
                Ok(None) => None,
                Ok(Some(status)) => {
                    Some(match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => ExitStatus::Exited(code),
                        (_, Some(signal)) => ExitStatus::Signaled(signal),
                        _ => ExitStatus::Unknown,
                    })
                }
                Err(rustix::io::Errno::INTR) => continue,
                // Not our child, or somebody else in this program reaped it.
                Err(_) => Some(ExitStatus::Unknown),
            };
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl ExitStatus {
    /// The status as one number, in the manner of `multiprocessing`: `-signal` or the exit code.
    pub const fn as_exitcode(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signaled(signal) => Some(-signal),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Signaled(number) => match signal_name(number) {
                Some(name) => write!(f, "was ended by {name} (signal {number})"),
                None => write!(f, "was ended by signal {number}"),
            },
            Self::Unknown => f.write_str("ended, and its exit status could not be learned"),
        }
    }
}

/// The usual name of a signal, such as `SIGSEGV`.
pub fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [(i32, &str); 14] = [
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGXCPU, "SIGXCPU"),
    ];
    NAMES.iter().find(|(value, _)| *value == number).map(|(_, name)| *name)
}

/// A process that runs now, to be recognised later though its id may be given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

impl Identity {
    /// The calling process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self { pid, started: stat(pid).map_or(0, |stat| stat.started) }
    }

    /// Whether that very process has not ended. A zombie has.
    pub fn is_alive(self) -> bool {
        match stat(self.pid) {
            // Without /proc the id has to do.
            None => !std::path::Path::new("/proc/self").exists() && exists(self.pid),
            Some(stat) => !stat.is_dead && (self.started == 0 || stat.started == self.started),
        }
    }
}

/// Whether a process, perhaps a zombie, has this id.
pub fn exists(pid: u32) -> bool {
    Pid::from_raw(pid as i32)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

struct Stat {
    is_dead: bool,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let is_dead = matches!(fields.next()?, "Z" | "X" | "x");
    Some(Stat { is_dead, started: fields.nth(18)?.parse().ok()? })
}
