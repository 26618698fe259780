//! Processes held by descriptor: signals and waits that can never hit a reused process id.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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
                Err(_) if self.has_exited() => Some(self.status_of_ended()),
                Err(_) => Some(ExitStatus::Unknown),
            };
        }
    }

    /// How a process that has ended did so, whoever's child it was.
    ///
    /// While nobody has reaped it, `/proc` tells; afterwards the kernel does since Linux 6.15.
    pub fn status_of_ended(&self) -> ExitStatus {
        // Twice: it may be reaped between the two questions.
        for _ in 0..2 {
            if let Some(status) = self.status_of_zombie().or_else(|| self.status_of_reaped()) {
                return status;
            }
        }
        ExitStatus::Unknown
    }

    fn status_of_zombie(&self) -> Option<ExitStatus> {
        let pid = self.unreaped_pid()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The id was not given to another process meanwhile.
        self.unreaped_pid().filter(|same| *same == pid)?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let status: i32 = fields.trim_end().rsplit(' ').next()?.parse().ok()?;
        // 0 is also said to those who may not know.
        (fields.starts_with('Z') && status != 0).then(|| ExitStatus::from_wait_status(status))
    }

    fn unreaped_pid(&self) -> Option<u32> {
        let info = format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd());
        let info = std::fs::read_to_string(info).ok()?;
        info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
    }

    fn status_of_reaped(&self) -> Option<ExitStatus> {
        let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the request's number says how long the structure is; it lives during the call.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), GET_INFO, &raw mut info) };
        let is_told = result == 0 && info.mask & INFO_EXIT != 0;
        is_told.then(|| ExitStatus::from_wait_status(info.exit_code))
    }
}

/// `struct pidfd_info` of `linux/pidfd.h`, in its first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: libc::Ioctl = libc::_IOWR::<PidfdInfo>(0xFF, 11);
/// `PIDFD_INFO_EXIT`.
const INFO_EXIT: u64 = 1 << 3;

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl ExitStatus {
    /// What `wait` would have stored.
    const fn from_wait_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signaled(libc::WTERMSIG(status))
        } else {
            Self::Exited(libc::WEXITSTATUS(status))
        }
    }

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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn how_a_process_ended_is_known_before_it_was_reaped_and_after() {
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let process = PidFd::open(child.id()).unwrap();
        process.wait_until_exited();
        assert_eq!(process.status_of_ended(), ExitStatus::Exited(7));
        child.wait().unwrap();
        let after = process.status_of_ended();
        // Linux before 6.15 does not tell.
        assert!([ExitStatus::Exited(7), ExitStatus::Unknown].contains(&after), "{after:?}");
    }

    #[test]
    fn a_signal_that_ended_a_process_is_known() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = PidFd::open(child.id()).unwrap();
        process.signal(Signal::KILL).unwrap();
        process.wait_until_exited();
        assert_eq!(process.status_of_ended(), ExitStatus::Signaled(SIGKILL));
        child.wait().unwrap();
    }
}
