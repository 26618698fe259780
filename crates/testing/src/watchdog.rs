//! Ends a test program that hangs.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Ends the test program with a sentence if what this returns is not dropped within `seconds`.
#[must_use = "the watchdog watches until this is dropped"]
pub fn guard(seconds: u64) -> Guard {
    let (alive, dropped) = channel::<()>();
    std::thread::spawn(move || {
        let patience = Duration::from_secs(seconds);
        if let Err(RecvTimeoutError::Timeout) = dropped.recv_timeout(patience) {
            eprintln!("watchdog: a test still runs after {seconds} s: it hangs");
            std::process::abort();
        }
    });
    Guard { _alive: alive }
}

/// Keeps the watchdog of [`guard`] quiet when dropped.
pub struct Guard {
    _alive: Sender<()>,
}
