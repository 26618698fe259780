//! How a Rust program waits: a wait that would last for ever panics, or tells on standard error.
//!
//! What happens is [`deadlock::mode`], for a program that sets none the environment variable
//! `MANYHANDS_DEADLOCK`: `raise` (the default: one thread of the deadlock panics), `report`, `off`.
//!
//! A wait in a destructor during a panic does not panic once more, which would abort the process;
//! one that takes a lock again for a guard that exists does not panic either. Such a wait leaves it
//! to the other threads of the deadlock, and prints the report if they did nothing.

use std::thread;

use manyhands_sys::clock::Deadline;

use crate::deadlock::{self, Kind, Mode};
use crate::sleep::{Wait, Waiting};

/// Looks that a wait which does not panic leaves to the others.
const PATIENT_LOOKS: u32 = 6;

/// Calls `step` with `deadline` until it is done (true) or timed out (false).
///
/// # Panics
/// With the report, if the wait could never end and the mode is to raise.
#[track_caller]
pub fn block(
    waiting: &mut Waiting<'_>,
    deadline: Option<Deadline>,
    mut step: impl FnMut(Option<Deadline>, &mut Waiting<'_>) -> Wait,
) -> bool {
    if thread::panicking() && deadline.is_none() {
        block_without_panic(waiting, |waiting| step(None, waiting));
        return true;
    }
    loop {
        match step(deadline, waiting) {
            Wait::Done => return true,
            Wait::TimedOut => return false,
            Wait::Interrupted => {}
            Wait::Stuck => {
                let Some(deadlock) = waiting.explain() else { continue };
                // The last word is the primitive's: it may have become free just now.
                if step(Some(Deadline::NOW), waiting) == Wait::Done {
                    return true;
                }
                let is_suspected = deadlock.kind == Kind::Suspected;
                assert!(is_suspected || deadlock::mode() != Mode::Raise, "{deadlock}");
                eprintln!("{deadlock}");
                if !is_suspected {
                    waiting.be_silent();
                }
            }
        }
    }
}

/// Calls `step` until it is done.
pub fn block_without_panic(
    waiting: &mut Waiting<'_>,
    mut step: impl FnMut(&mut Waiting<'_>) -> Wait,
) {
    let mut n_looks = 0;
    loop {
        match step(waiting) {
            Wait::Done => return,
            Wait::TimedOut | Wait::Interrupted => {}
            Wait::Stuck => {
                n_looks += 1;
                let deadlock = match deadlock::mode() {
                    // Others panic, also after this one has printed what it sees.
                    Mode::Raise if n_looks < PATIENT_LOOKS => None,
                    Mode::Raise => waiting.witness(),
                    _ => waiting.explain(),
                };
                let Some(deadlock) = deadlock else { continue };
                eprintln!("{deadlock}");
                if deadlock.kind != Kind::Suspected {
                    waiting.be_silent();
                }
            }
        }
    }
}
