//! The child's side of the promise that no child outlives its root.
//!
//! Two watches, each of which is enough where the other fails:
//! - the [lifeline] of the root, by which the kernel ends the child: before its first instruction,
//!   while it is stopped, and also when the root has not ended but runs another program (`exec`).
//!   It is gone if a task closes all descriptors;
//! - a thread asleep on the root's pidfd and on the line. It works also while the child sits in
//!   foreign code, and does not depend on which thread of the root started the child (as
//!   `PR_SET_PDEATHSIG` does), on what somebody else may have inherited, or on the template.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::event;
use manyhands_sys::lifeline;
use manyhands_sys::pid::{self, PidFd};
use manyhands_sys::thread::{exit_now, spawn_deaf};

const STACK_BYTES: usize = 64 * 1024;

/// How long a process that looks after its root itself may take to end in order. What a large
/// process needs besides, for the kernel to take its memory apart, is within half a second then.
const LAST_ACTS: Duration = Duration::from_millis(200);

static LOOKS_ITSELF: AtomicBool = AtomicBool::new(false);

/// In a fork of the root's template: the kernel ends the calling process when the root ends. Ends
/// it at once if that has happened.
pub fn hang_on() {
    if !lifeline::hang_on() {
        exit_now(1);
    }
}

/// In a fork of the root itself: as [`hang_on`].
pub fn hang_on_forker() {
    lifeline::descend_from_forker();
    hang_on();
}

/// From now on the calling process ends, at once, when `root` ends.
///
/// The thread never takes a lock, so a fork of this process is as safe as without it.
pub fn exit_with(root: PidFd) -> io::Result<()> {
    // Where it could not be done earlier: a program that hides its memory (`PR_SET_DUMPABLE`) may
    // not open its own descriptors, nor may what it starts before that is another program.
    hang_on();
    let line = lifeline::above();
    spawn_deaf("mh-watch", STACK_BYTES, move || {
        wait_until_ended(&root, line);
        if LOOKS_ITSELF.load(Ordering::Relaxed) {
            let _ = event::poll(&[], Some(Deadline::after(LAST_ACTS)));
        }
        exit_now(1);
    })?;
    Ok(())
}

fn wait_until_ended(root: &PidFd, line: Option<OwnedFd>) {
    let lines: Vec<_> = line.iter().map(AsFd::as_fd).collect();
    while !matches!(pid::poll(&lines, &[root], None), Ok(ready) if !ready.is_empty()) {
        if root.has_exited() {
            return;
        }
    }
}

/// A descriptor that is readable once `root`, which this process was started for, has ended or
/// runs another program.
///
/// # Errors
/// If there is no descriptor left.
pub fn sentinel(root: &PidFd) -> io::Result<OwnedFd> {
    let ended = root.sentinel()?;
    match lifeline::above() {
        Some(line) => lifeline::any_of([ended, line]),
        None => Ok(ended),
    }
}

/// The calling process asks for its root's state, and so may have something to do after its end: it
/// gets a fifth of a second for that.
pub fn looks_itself() {
    if !LOOKS_ITSELF.swap(true, Ordering::Relaxed) {
        // Our thread sees to the end, also if somebody has stopped this process.
        lifeline::be_continued_only();
    }
}
