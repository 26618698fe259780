//! A short time of trying again before a thread goes to sleep.
//!
//! Going to sleep and being woken costs some microseconds and two system calls; whoever holds a
//! lock for a moment gives it back sooner. After a few pauses the thread offers its processor to
//! others: with more threads than processors the holder may be waiting for it.

use std::hint::spin_loop;
use std::thread;

/// Rounds of pauses, each twice as long as the one before.
const N_PAUSES: u32 = 6;
/// Rounds in which others may run.
const N_YIELDS: u32 = 4;

/// Whether `attempt` succeeded, now or soon.
pub(crate) fn soon(mut attempt: impl FnMut() -> bool) -> bool {
    for round in 1..=N_PAUSES {
        for _ in 0..1 << round {
            spin_loop();
        }
        if attempt() {
            return true;
        }
    }
    for _ in 0..N_YIELDS {
        thread::yield_now();
        if attempt() {
            return true;
        }
    }
    false
}
