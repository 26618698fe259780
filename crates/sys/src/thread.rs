//! Threads that belong to the runtime: small, named, deaf to signals.

use std::io;
use std::thread::JoinHandle;

use crate::refused::explained;

/// Starts a thread that no signal handler ever runs in, so that the program's signals reach the
/// program's threads.
pub fn spawn_deaf<T: Send + 'static>(
    name: &str,
    stack_bytes: usize,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let before = block_all_signals();
    let started = std::thread::Builder::new().name(name.into()).stack_size(stack_bytes).spawn(body);
    set_signal_mask(&before);
    // The C library tries nothing else after EPERM.
    started.map_err(|error| explained(error, "starting a thread", "clone3"))
}

/// Blocks every signal in the calling thread and returns the mask it had.
pub(crate) fn block_all_signals() -> libc::sigset_t {
    // SAFETY: sigset_t is plain data; both sets are written before they are read.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        before
    }
}

/// Gives the calling thread a mask it had before.
pub(crate) fn set_signal_mask(mask: &libc::sigset_t) {
    // SAFETY: a whole set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}

/// Ends the calling process at once: no destructors, no exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit is always allowed.
    unsafe { libc::_exit(code) }
}

/// Gives the calling thread a name of at most 15 bytes; the main thread's is its process's in `ps`.
pub fn set_name(name: &std::ffi::CStr) {
    // Only for people: that it may be refused is no concern.
    let _ = rustix::thread::set_name(name);
}

/// Lets SIGINT reach the calling thread again (see [`crate::spawn::spawn`]).
pub fn unblock_interrupt() {
    // SAFETY: sigset_t is plain data, made empty before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
}

/// What SIGINT does in this process: the address of its handler, or 0 or 1 for the default and for
/// nothing at all.
pub fn interrupt_handler() -> usize {
    // SAFETY: a query into plain data of our own.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGINT, std::ptr::null(), &mut action);
        action.sa_sigaction
    }
}

/// How late the calling thread's timed sleeps may end; the system's default is 50 µs.
pub fn set_timer_slack_ns(slack_ns: u32) {
    // SAFETY: PR_SET_TIMERSLACK takes a number.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, libc::c_ulong::from(slack_ns)) };
}
