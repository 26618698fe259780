//! Lifelines: the kernel ends who hangs on one as soon as its owner ends or runs another program.
//!
//! A line is a pipe that nobody writes to. Its owner alone has the writing end, which is closed by
//! the kernel at the owner's end, by `exec`, and by us in each child that the owner forks. A
//! process hangs on it by an opening of the reading end of its own that signals the process when
//! the last writing end goes (`F_SETOWN`, `F_SETSIG`, `O_ASYNC`). The signal is SIGKILL: it needs
//! no thread and no code of the process, reaches one that is stopped or that blocks every signal,
//! survives `exec` and changes of credentials, and does not depend on which thread of the owner
//! made the process (as `PR_SET_PDEATHSIG` does).
//!
//! What it does not do: notice an owner whose fork in C code, without the C library, lives on. Who
//! hangs on a line watches the owner's pidfd besides. Without `/proc` no opening of its own can be
//! had: the line can be looked at then, and the kernel does nothing by itself.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::event::epoll;
use rustix::fs::Mode;
use rustix::pipe::PipeFlags;

use crate::descriptor::out_of_the_way;

/// Where a program that is started finds the line it hangs on: below the numbers of
/// [`crate::descriptor`], above those that programs hand to each other.
const STARTED_WITH: RawFd = 511;

/// `F_SETSIG` of `linux/fcntl.h`.
const F_SETSIG: c_int = 10;

/// The lines a process has to do with.
struct Lines {
    /// Its own: reading end, writing end.
    own: Option<(End, End)>,
    /// After a fork, the reading end of the line of the process that forked.
    of_forker: Option<End>,
    above: Option<Above>,
}

/// The line of the process that this one was started for.
struct Above {
    end: End,
    /// This process hangs on it, by an opening of its own.
    is_held: bool,
}

/// One end of a line. A program that becomes a daemon closes every descriptor, and the number may
/// be another's by now: it is looked at before it is used, or closed.
struct End {
    fd: ManuallyDrop<OwnedFd>,
    inode: u64,
}

static LINES: Mutex<Lines> = Mutex::new(Lines { own: None, of_forker: None, above: None });

static HOOK: Once = Once::new();

thread_local! {
    /// A fork is under way in this thread. No line is made meanwhile: the child would have a
    /// writing end that it does not know of.
    static FORKING: RefCell<Option<MutexGuard<'static, Lines>>> = const { RefCell::new(None) };
}

/// The reading end of the line that those hang on whom this process starts; made when first needed.
///
/// # Errors
/// If there is no descriptor left.
pub fn own() -> io::Result<OwnedFd> {
    let mut lines = lock();
    if !lines.own.as_ref().is_some_and(|(reader, writer)| reader.is_there() && writer.is_there()) {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Who has changed its user since may still open it.
        rustix::fs::fchmod(&reader, Mode::from_raw_mode(0o444))?;
        lines.own = Some((End::new(out_of_the_way(reader))?, End::new(out_of_the_way(writer))?));
    }
    let (reader, _) = lines.own.as_ref().ok_or(io::ErrorKind::NotFound)?;
    reader.try_clone().ok_or_else(io::Error::last_os_error)
}

/// The line of the process that this one was started for, to be looked at: it is readable once
/// that process is no more what it was.
pub fn above() -> Option<OwnedFd> {
    lock().above.as_ref().and_then(|above| above.end.try_clone())
}

/// In a fork of a process that hangs on a line: this process hangs on it too. False: the line is
/// cut already.
pub fn hang_on() -> bool {
    let mut lines = lock();
    let Some(above) = lines.above.as_mut().filter(|above| above.end.is_there()) else {
        return true;
    };
    hold(above);
    !is_cut(above.end.fd.as_raw_fd())
}

/// In a fork: the line above is that of the process that forked, if it has one.
pub fn descend_from_forker() {
    let mut lines = lock();
    if let Some(end) = lines.of_forker.take() {
        lines.above = Some(Above { end, is_held: false });
    }
}

/// From now on this process is not ended when the line is cut, but continued if it is stopped:
/// somebody in it sees to the end.
pub fn be_continued_only() {
    let lines = lock();
    let is_ours = |above: &&Above| above.is_held && above.end.is_there();
    if let Some(above) = lines.above.as_ref().filter(is_ours) {
        set_signal(above.end.fd.as_raw_fd(), libc::SIGCONT);
    }
}

/// A descriptor that is readable once one of `fds` is, for foreign `poll` and `select`. They stay
/// open to the end of the process: an epoll forgets what is closed.
///
/// # Errors
/// If there is no descriptor left.
pub fn any_of(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<OwnedFd> {
    let any = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for fd in fds {
        epoll::add(&any, &fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        std::mem::forget(out_of_the_way(fd));
    }
    Ok(any)
}

/// A line on its way to a program that is about to be started.
pub(crate) struct Thrown {
    line: OwnedFd,
    path: CString,
    /// The program is to hang on it; otherwise it only has it to look at.
    hangs: bool,
}

impl Thrown {
    pub(crate) fn new(line: OwnedFd, hangs: bool) -> io::Result<Self> {
        let path = CString::new(path_of(line.as_raw_fd()))?;
        Ok(Self { line, path, hangs })
    }

    /// In the child, before `exec`: hangs on the line, which the program finds under its number.
    /// False: the line is cut.
    ///
    /// Makes system calls only: the child shares its parent's memory.
    pub(crate) fn catch(&self) -> bool {
        let line = self.line.as_raw_fd();
        let held = if self.hangs { hang_by(&self.path) } else { None };
        let fd = held.unwrap_or(line);
        // SAFETY: numbers of descriptors, one of which is replaced, in a table of the child's own.
        unsafe {
            // Where that number is beyond the limit the program does not find it, and hangs all
            // the same.
            let kept = if libc::dup2(fd, STARTED_WITH) < 0 { fd } else { STARTED_WITH };
            libc::fcntl(kept, libc::F_SETFD, 0);
        }
        !self.hangs || !is_cut(line)
    }
}

/// In a program that [`crate::spawn`] has started: takes the line that it was given.
///
/// # Safety
/// Nobody else in this process owns the descriptor of that number.
pub(crate) unsafe fn take_over() {
    // SAFETY: asks about a number.
    let flags = unsafe { libc::fcntl(STARTED_WITH, libc::F_GETFL) };
    if flags < 0 {
        return;
    }
    // SAFETY: it is open, and ours by the caller's promise.
    let fd = out_of_the_way(unsafe { OwnedFd::from_raw_fd(STARTED_WITH) });
    let is_held = flags & libc::O_ASYNC != 0;
    lock().above = End::new(fd).ok().map(|end| Above { end, is_held });
}

/// Makes the kernel end this process when the line is cut, if it has not been told already.
fn hold(above: &mut Above) {
    if above.is_held {
        return;
    }
    let Ok(path) = CString::new(path_of(above.end.fd.as_raw_fd())) else { return };
    if let Some(held) = hang_by(&path) {
        // SAFETY: just opened, and nobody else's.
        let held = out_of_the_way(unsafe { OwnedFd::from_raw_fd(held) });
        above.end = End { fd: ManuallyDrop::new(held), inode: above.end.inode };
        above.is_held = true;
    }
}

impl End {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let inode = rustix::fs::fstat(&fd)?.st_ino;
        Ok(Self { fd: ManuallyDrop::new(fd), inode })
    }

    /// Whether the descriptor still is what it was.
    fn is_there(&self) -> bool {
        rustix::fs::fstat(&*self.fd).is_ok_and(|stat| stat.st_ino == self.inode)
    }

    fn try_clone(&self) -> Option<OwnedFd> {
        if self.is_there() { self.fd.try_clone().ok() } else { None }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.is_there() {
            // SAFETY: taken once, here.
            drop(unsafe { ManuallyDrop::take(&mut self.fd) });
        }
    }
}

fn path_of(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}

/// An opening of the line that ends this process when the line is cut. System calls only.
fn hang_by(path: &CStr) -> Option<RawFd> {
    // SAFETY: a string that ends; then numbers only.
    unsafe {
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let fd = libc::open(path.as_ptr(), flags);
        if fd < 0 {
            return None;
        }
        libc::fcntl(fd, libc::F_SETOWN, libc::getpid());
        set_signal(fd, libc::SIGKILL);
        libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK | libc::O_ASYNC);
        Some(fd)
    }
}

fn set_signal(fd: RawFd, signal: c_int) {
    // SAFETY: takes numbers.
    unsafe { libc::fcntl(fd, F_SETSIG, signal) };
}

/// Whether nobody has the writing end any more. What an opening says that was made afterwards is
/// right too, unlike `poll`.
fn is_cut(fd: RawFd) -> bool {
    let mut byte = 0_u8;
    // SAFETY: room for one byte; the descriptor does not block.
    unsafe { libc::read(fd, (&raw mut byte).cast(), 1) == 0 }
}

fn lock() -> MutexGuard<'static, Lines> {
    HOOK.call_once(|| crate::fork::around(before_fork, after_fork_in_parent, after_fork_in_child));
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn before_fork() {
    let guard = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    // A thread whose locals are gone already forks without the lock.
    let _ = FORKING.try_with(|forking| forking.replace(Some(guard)));
}

extern "C" fn after_fork_in_parent() {
    let _ = FORKING.try_with(RefCell::take);
}

extern "C" fn after_fork_in_child() {
    let guard = FORKING.try_with(RefCell::take).ok().flatten();
    let Some(mut lines) = guard else { return };
    // The writing end is closed here: the line is its owner's.
    lines.of_forker = lines.own.take().map(|(reader, _)| reader);
    if let Some(above) = &mut lines.above {
        above.is_held = false;
    }
}
