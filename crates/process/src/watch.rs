//! The child's side of the promise that no child outlives its root.
//!
//! A thread asleep on the root's pidfd: it works also while the child sits in foreign code, and
//! it does not depend on which thread of the root started the child (as `PR_SET_PDEATHSIG` does),
//! on pipe ends that somebody else may have inherited, or on the template.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::event::poll;
use manyhands_sys::pid::PidFd;
use manyhands_sys::thread::{exit_now, spawn_deaf};

const STACK_BYTES: usize = 64 * 1024;

/// How long a process that looks after its root itself may take to end in order.
const LAST_ACTS: Duration = Duration::from_secs(5);

static LOOKS_ITSELF: AtomicBool = AtomicBool::new(false);

/// From now on the calling process ends, at once, when `root` ends.
///
/// The thread never takes a lock, so a fork of this process is as safe as without it.
pub fn exit_with(root: PidFd) -> io::Result<()> {
    spawn_deaf("mh-watch", STACK_BYTES, move || {
        root.wait_until_exited();
        if LOOKS_ITSELF.load(Ordering::Relaxed) {
            let _ = poll(&[], Some(Deadline::after(LAST_ACTS)));
        }
        exit_now(1);
    })?;
    Ok(())
}

/// The calling process asks for its root's state, and so may have something to do after its end: it
/// gets five seconds for that.
pub fn looks_itself() {
    LOOKS_ITSELF.store(true, Ordering::Relaxed);
}
