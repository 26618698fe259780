//! Processes held by descriptor: signals and waits that can never hit a reused process id.
//!
//! Where the system refuses pidfds, a [`ProcDir`] stands in: slower to notice an end, and polled
//! for by [`poll`] instead of by the kernel.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::clock::Deadline;
use crate::event;
use crate::proc_dir::{self, LOOK, ProcDir};
use crate::refused::is_refusal;
use crate::thread::spawn_deaf;

pub use libc::{SIGKILL, SIGTERM};
pub use rustix::process::Signal;

/// Of the thread behind a sentinel.
const STACK_BYTES: usize = 64 * 1024;

/// A process, dead or alive, that cannot be mistaken for another.
#[derive(Debug)]
pub struct PidFd {
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Kernel(OwnedFd),
    /// `pidfd_open` is refused here, or was where the process was opened.
    StandIn(ProcDir),
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

/// The signal with this number, a real-time one too; `None`: there is none, or it is libc's own.
pub fn signal_of(number: i32) -> Option<Signal> {
    let is_real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number);
    // SAFETY: a number that libc leaves to programs.
    let real_time = || is_real_time.then(|| unsafe { Signal::from_raw_unchecked(number) });
    Signal::from_named_raw(number).or_else(real_time)
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
        let handle = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Err(error) if is_refusal(error) => Handle::StandIn(ProcDir::open(pid)?),
            fd => Handle::Kernel(fd?),
        };
        Ok(Self { handle })
    }

    /// The calling process.
    pub fn current() -> io::Result<Self> {
        Self::open(std::process::id())
    }

    /// Takes over a descriptor received from another process, which had it by [`AsFd`].
    pub fn from_fd(fd: OwnedFd) -> Self {
        let handle = match ProcDir::from_fd(fd) {
            Ok(folder) => Handle::StandIn(folder),
            Err(fd) => Handle::Kernel(fd),
        };
        Self { handle }
    }

    /// Another descriptor of the same process.
    pub fn try_clone(&self) -> io::Result<Self> {
        let handle = match &self.handle {
            Handle::Kernel(fd) => Handle::Kernel(fd.try_clone()?),
            Handle::StandIn(folder) => Handle::StandIn(folder.try_clone()?),
        };
        Ok(Self { handle })
    }

    /// Whether the kernel makes the descriptor readable when the process ends. Where it does not,
    /// [`poll`] looks.
    pub const fn is_pollable(&self) -> bool {
        matches!(self.handle, Handle::Kernel(_))
    }

    /// A descriptor that is readable once the process has ended, for foreign `poll` and `select`.
    pub fn sentinel(&self) -> io::Result<OwnedFd> {
        let Handle::StandIn(folder) = &self.handle else {
            return self.as_fd().try_clone_to_owned();
        };
        let alarm = event::EventFd::new()?;
        let sentinel = alarm.as_fd().try_clone_to_owned()?;
        let folder = folder.try_clone()?;
        spawn_deaf("mh-sentinel", STACK_BYTES, move || {
            folder.wait_until_exited();
            alarm.notify();
        })?;
        Ok(sentinel)
    }

    /// Sends a signal; that the process is gone already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let sent = match &self.handle {
            Handle::Kernel(fd) => match rustix::process::pidfd_send_signal(fd, signal) {
                Err(error) if is_refusal(error) => match self.unreaped_pid() {
                    // Says EPERM too where it is the process that may not be signalled.
                    Some(pid) => rustix::process::kill_process(pid, signal),
                    None => Err(error),
                },
                sent => sent,
            },
            Handle::StandIn(folder) => folder.signal(signal),
        };
        match sent {
            Err(Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Whether the process has ended (it may still be a zombie).
    pub fn has_exited(&self) -> bool {
        match &self.handle {
            Handle::Kernel(fd) => {
                let mut fds = [PollFd::new(fd, PollFlags::IN)];
                let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
                matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(1))
            }
            Handle::StandIn(folder) => folder.has_exited(),
        }
    }

    /// Whether somebody has stopped the process (SIGSTOP) and not continued it. False also where
    /// `/proc` does not tell, and for one that a debugger holds.
    pub fn is_stopped(&self) -> bool {
        let stat = match &self.handle {
            Handle::Kernel(_) => self.unreaped_pid().and_then(|pid| {
                let stat = ProcDir::open(pid).ok()?.stat();
                // The id was not given to another process meanwhile.
                self.unreaped_pid().filter(|same| *same == pid).and(stat)
            }),
            Handle::StandIn(folder) => folder.stat(),
        };
        stat.is_some_and(|stat| stat.is_stopped)
    }

    /// Sleeps until the process has ended.
    pub fn wait_until_exited(&self) {
        match &self.handle {
            Handle::Kernel(fd) => loop {
                let mut fds = [PollFd::new(fd, PollFlags::IN)];
                if let Ok(1) = rustix::event::poll(&mut fds, None) {
                    return;
                }
            },
            Handle::StandIn(folder) => folder.wait_until_exited(),
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
            let id = match &self.handle {
                Handle::Kernel(fd) => Some(WaitId::PidFd(fd.as_fd())),
                Handle::StandIn(folder) => folder.wait_id(),
            };
            let Some(id) = id else { return Some(ExitStatus::Unknown) };
            return match rustix::process::waitid(id, options) {
                Ok(None) => None,
                Ok(Some(status)) => {
                    Some(match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => ExitStatus::Exited(code),
                        (_, Some(signal)) => ExitStatus::Signaled(signal),
                        _ => ExitStatus::Unknown,
                    })
                }
                Err(Errno::INTR) => continue,
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
            let status = match &self.handle {
                Handle::Kernel(fd) => self.status_of_zombie().or_else(|| status_of_reaped(fd)),
                Handle::StandIn(folder) => folder.status_of_zombie(),
            };
            if let Some(status) = status {
                return status;
            }
        }
        ExitStatus::Unknown
    }

    fn status_of_zombie(&self) -> Option<ExitStatus> {
        let pid = self.unreaped_pid()?;
        let status = ProcDir::open(pid).ok()?.status_of_zombie();
        // The id was not given to another process meanwhile.
        self.unreaped_pid().filter(|same| *same == pid)?;
        status
    }

    fn unreaped_pid(&self) -> Option<Pid> {
        let info = format!("/proc/self/fdinfo/{}", self.as_fd().as_raw_fd());
        let info = std::fs::read_to_string(info).ok()?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
        // 0 in another namespace, -1 when it was reaped.
        (pid > 0).then(|| Pid::from_raw(pid))?
    }
}

fn status_of_reaped(fd: &OwnedFd) -> Option<ExitStatus> {
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request's number says how long the structure is; it lives during the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), GET_INFO, &raw mut info) };
    let is_told = result == 0 && info.mask & INFO_EXIT != 0;
    is_told.then(|| ExitStatus::from_wait_status(info.exit_code))
}

/// As [`event::poll`] of `fds` and, after them, of `processes`, which are ready when they have
/// ended.
pub fn poll(
    fds: &[BorrowedFd<'_>],
    processes: &[&PidFd],
    deadline: Option<Deadline>,
) -> io::Result<Vec<usize>> {
    let with_pollable = || -> Vec<_> {
        let pollable = processes.iter().filter(|process| process.is_pollable());
        fds.iter().copied().chain(pollable.map(|process| process.as_fd())).collect()
    };
    if processes.iter().all(|process| process.is_pollable()) {
        return event::poll(&with_pollable(), deadline);
    }
    // One is only looked at: the sleeps are cut to pieces.
    let at_once = Deadline::after(std::time::Duration::ZERO);
    loop {
        let is_last = deadline.is_some_and(Deadline::has_passed);
        let ended: Vec<_> = (fds.len()..)
            .zip(processes)
            .filter_map(|(idx, process)| process.has_exited().then_some(idx))
            .collect();
        let look = if is_last || !ended.is_empty() { at_once } else { Deadline::after(LOOK) };
        let until = deadline.map_or(look, |deadline| deadline.min(look));
        let mut ready = event::poll(&with_pollable(), Some(until))?;
        ready.retain(|idx| *idx < fds.len());
        ready.extend(ended);
        // Neither something ready nor the time over: a signal handler ran.
        if !ready.is_empty() || is_last || !until.has_passed() {
            return Ok(ready);
        }
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
    /// To be sent to relatives, who take it [over](PidFd::from_fd).
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.handle {
            Handle::Kernel(fd) => fd.as_fd(),
            Handle::StandIn(folder) => folder.as_fd(),
        }
    }
}

impl ExitStatus {
    /// What `wait` would have stored.
    pub(crate) const fn from_wait_status(status: i32) -> Self {
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
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
}

fn stat(pid: u32) -> Option<proc_dir::Stat> {
    proc_dir::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
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

    fn stand_in(pid: u32) -> PidFd {
        let pid = Pid::from_raw(pid as i32).unwrap();
        PidFd { handle: Handle::StandIn(ProcDir::open(pid).unwrap()) }
    }

    #[test]
    fn without_pidfds_a_childs_end_and_its_status_are_known() {
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let process = stand_in(child.id());
        process.wait_until_exited();
        assert_eq!(process.status_of_ended(), ExitStatus::Exited(7));
        assert_eq!(process.try_reap(), Some(ExitStatus::Exited(7)));
        assert!(process.has_exited());
        assert_eq!(process.try_reap(), Some(ExitStatus::Unknown), "nobody knows any more");
        process.signal(Signal::KILL).expect("that it is gone is no error");
        child.wait().expect_err("it was reaped already");
    }

    #[test]
    fn without_pidfds_one_that_was_sent_is_still_the_same_process() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let sent = stand_in(child.id()).as_fd().try_clone_to_owned().unwrap();
        let process = PidFd::from_fd(sent);
        assert!(!process.is_pollable() && !process.has_exited());
        process.signal(Signal::KILL).unwrap();
        assert_eq!(poll(&[], &[&process], None).unwrap(), [0]);
        child.wait().unwrap();
        assert_eq!(poll(&[], &[&process], None).unwrap(), [0]);
    }

    #[test]
    fn without_pidfds_a_wait_ends_at_its_deadline_and_for_a_descriptor() {
        let me = stand_in(std::process::id());
        let soon = Deadline::after(std::time::Duration::from_millis(20));
        assert!(poll(&[], &[&me], Some(soon)).unwrap().is_empty());
        assert!(soon.has_passed());
        let alarm = event::EventFd::new().unwrap();
        alarm.notify();
        assert_eq!(poll(&[alarm.as_fd()], &[&me], None).unwrap(), [0]);
    }

    #[test]
    fn a_process_with_any_name_is_understood() {
        let text = b"77 (a) b\xff (c) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99 5 1792";
        let stat = proc_dir::parse(text).unwrap();
        assert_eq!((stat.pid, stat.is_dead, stat.started, stat.wait_status), (77, true, 99, 1792));
    }

    #[test]
    fn a_stopped_process_is_known_until_it_is_continued() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        for process in [PidFd::open(child.id()).unwrap(), stand_in(child.id())] {
            assert!(!process.is_stopped());
            process.signal(Signal::STOP).unwrap();
            while !process.is_stopped() {}
            process.signal(Signal::CONT).unwrap();
            while process.is_stopped() {}
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!PidFd::current().unwrap().is_stopped());
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
