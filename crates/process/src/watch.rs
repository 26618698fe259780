//! The child's side of the promise that no child outlives its root.
//!
//! A thread asleep on the root's pidfd: it works also while the child sits in foreign code, and
//! it does not depend on which thread of the root started the child (as `PR_SET_PDEATHSIG` does),
//! on pipe ends that somebody else may have inherited, or on the template.

use std::io;

use manyhands_sys::pid::PidFd;
use manyhands_sys::thread::{exit_now, spawn_deaf};

const STACK_BYTES: usize = 64 * 1024;

/// From now on the calling process ends, at once, when `root` ends.
///
/// The thread never takes a lock, so a fork of this process is as safe as without it.
pub fn exit_with(root: PidFd) -> io::Result<()> {
    spawn_deaf("mh-watch", STACK_BYTES, move || {
        root.wait_until_exited();
        exit_now(1);
    })?;
    Ok(())
}
