//! The one place where a thread that waits for a queue sleeps.

use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Private, WaitEnd};

/// Sleeps while `word` is `seen`, until woken, `deadline`, or a signal.
pub fn sleep(word: &Futex<Private>, seen: u32, deadline: Option<Deadline>) -> WaitEnd {
    word.wait(seen, deadline)
}
