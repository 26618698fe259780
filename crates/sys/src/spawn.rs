//! Starting another program without copying this one's page tables.
//!
//! As `posix_spawn` does it, by a child that shares this process's memory until it has become the
//! program. What that cannot do is to let the child hang on a [`lifeline`] before its first
//! instruction.

use std::ffi::{CString, OsStr, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use crate::lifeline::{self, Thrown};
use crate::pid::PidFd;
use crate::refused::explained;
use crate::thread::{block_all_signals, set_signal_mask};

/// What the child needs until it is the program.
const STACK_BYTES: usize = 64 * 1024;

/// How `posix_spawn` ends a child that cannot become the program.
const NOT_STARTED: c_int = 127;

/// What becomes of the program when this process ends, or runs another program itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// The kernel ends it, whatever it does at that moment.
    EndsWithUs,
    /// It may live on; it can see that we have ended.
    OutlivesUs,
}

/// All that the child reads, and the one thing it writes.
struct Plan {
    program: CString,
    argv: Vec<*mut libc::c_char>,
    envp: Vec<*mut libc::c_char>,
    stdin: RawFd,
    /// Whether descriptors 1 and 2 are inherited.
    inherits: [bool; 2],
    /// The working directory was removed.
    is_nowhere: bool,
    line: Option<Thrown>,
    mask: libc::sigset_t,
    errno: c_int,
}

/// Starts `program` (a path) with the given arguments (the first is its name) and environment
/// entries (`NAME=value`). `stdin` becomes its descriptor 0; descriptors 1 and 2 are inherited, or
/// `/dev/null` where there is none to inherit: another descriptor of the program would get that
/// number, and be written to. All others of ours are close-on-exec. It starts with SIGINT blocked,
/// so that a Ctrl-C cannot hit it before it has said what it wants to do about it.
///
/// Where our working directory was removed it begins in `/`: an interpreter that begins nowhere
/// (CPython 3.13.0) can import no extension module. Which directory it is to have, it is told
/// afterwards.
pub fn spawn(
    program: &OsStr,
    args: &[CString],
    env: &[CString],
    stdin: BorrowedFd<'_>,
    tie: Tie,
) -> io::Result<(u32, PidFd)> {
    // Without a line it is still watched by pidfd.
    let line = lifeline::own().and_then(|line| Thrown::new(line, tie == Tie::EndsWithUs)).ok();
    // SAFETY: sigset_t is plain data, made empty before it is read.
    let mask = unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut mask);
        libc::sigaddset(&mut mask, libc::SIGINT);
        mask
    };
    let mut plan = Plan {
        program: CString::new(program.as_bytes())?,
        argv: pointers(args),
        envp: pointers(env),
        stdin: stdin.as_raw_fd(),
        inherits: [is_inherited(1), is_inherited(2)],
        is_nowhere: std::env::current_dir().is_err(),
        line,
        mask,
        errno: 0,
    };
    let pid = start(&mut plan)?;
    // The child is not reaped yet, so its id is still its own.
    let process = PidFd::open(pid as u32).inspect_err(|_| {
        // SAFETY: takes a number; the child is ours and not reaped.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        reap(pid);
    })?;
    Ok((pid as u32, process))
}

/// Makes the child, and sleeps until it is the program or has ended.
fn start(plan: &mut Plan) -> io::Result<libc::pid_t> {
    // In words of 16 bytes, as its end has to be aligned to that.
    let mut stack: Vec<u128> = Vec::with_capacity(STACK_BYTES / size_of::<u128>());
    // The child has our handlers at first, which must not run in it.
    let before = block_all_signals();
    // SAFETY: the end of memory that lives until the child has gone its own way; `become_program`
    // takes a plan, which does so too, and nobody else looks at it meanwhile: this thread sleeps.
    let (pid, error) = unsafe {
        let end_of_stack = stack.as_mut_ptr().add(stack.capacity()).cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let pid = libc::clone(become_program, end_of_stack, flags, ptr::from_mut(plan).cast());
        (pid, io::Error::last_os_error())
    };
    set_signal_mask(&before);
    if pid < 0 {
        return Err(explained(error, "starting a process", "clone"));
    }
    // SAFETY: written by the child, which is done with it.
    let errno = unsafe { ptr::read_volatile(&raw const plan.errno) };
    if errno != 0 {
        reap(pid);
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok(pid)
}

/// The child: makes system calls only, as its memory is its parent's.
extern "C" fn become_program(plan: *mut c_void) -> c_int {
    let plan = plan.cast::<Plan>();
    // SAFETY: from `start`; all pointers in it are to live, NUL-terminated strings in
    // NULL-terminated arrays.
    unsafe {
        let wanted = &*plan;
        forget_handlers();
        libc::dup2(wanted.stdin, 0);
        for (number, is_inherited) in (1..).zip(wanted.inherits) {
            if !is_inherited {
                let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
                // One that had that number is not to be inherited: it is another's.
                if null == number {
                    libc::fcntl(null, libc::F_SETFD, 0);
                } else {
                    libc::dup2(null, number);
                }
            }
        }
        if wanted.is_nowhere {
            libc::chdir(c"/".as_ptr());
        }
        if wanted.line.as_ref().is_some_and(|line| !line.catch()) {
            // Nobody is left who has wanted this program.
            libc::_exit(NOT_STARTED);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &wanted.mask, ptr::null_mut());
        let (argv, envp) = (wanted.argv.as_ptr(), wanted.envp.as_ptr());
        libc::execve(wanted.program.as_ptr(), argv.cast(), envp.cast());
        (&raw mut (*plan).errno).write_volatile(*libc::__errno_location());
        libc::_exit(NOT_STARTED)
    }
}

/// Every signal that has a handler gets its default action; one that is ignored stays so.
fn forget_handlers() {
    // SAFETY: plain data, read after it was written; those that libc keeps for itself are refused.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            let mut action: libc::sigaction = std::mem::zeroed();
            let is_known = libc::sigaction(signal, ptr::null(), &mut action) == 0;
            if is_known && ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction) {
                libc::sigaction(signal, &default, ptr::null_mut());
            }
        }
    }
}

fn reap(pid: libc::pid_t) {
    // SAFETY: takes no pointer but a null one; the child is ours and not reaped.
    unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
}

/// Whether a program that is started gets this descriptor: it is open, and not close-on-exec.
fn is_inherited(number: i32) -> bool {
    // SAFETY: asks about a number, whether or not there is a descriptor behind it.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    let mut pointers: Vec<_> = strings.iter().map(|text| text.as_ptr().cast_mut()).collect();
    pointers.push(ptr::null_mut());
    pointers
}
