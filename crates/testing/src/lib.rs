//! What the tests and benchmarks of several crates need, written once.
//!
//! Every crate may have this one as a dev-dependency, and only as that (`tools/check_layers.py`);
//! it is not published. It tests nothing itself, and knows no primitive above the family heap.
//!
//! | Module | What it is |
//! |---|---|
//! | [`random`] | random numbers that are the same in every run |
//! | [`fork`] | forked processes: plain ones, and such as are parties of the family |
//! | [`dead`] | parties whose process has ended |
//! | [`member`] | the test program, started again as a member of a heap, to be killed |
//! | [`ledger`] | words in the heap in which processes write down what they have done |
//! | [`reentry`] | how to start the test program again at one of its tests |
//! | [`watchdog`] | ends a test program that hangs |

pub mod dead;
pub mod fork;
pub mod ledger;
pub mod member;
pub mod random;
pub mod reentry;
pub mod watchdog;

use std::time::{Duration, Instant};

/// How many processes a test kills: what `MANYHANDS_KILLS` says, or else `default`.
pub fn n_kills(default: u64) -> u64 {
    std::env::var("MANYHANDS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Keeps the processor busy for `duration`: a sleep would be longer, and end at fewer instructions.
pub fn spin_for(duration: Duration) {
    let started = Instant::now();
    while started.elapsed() < duration {
        std::hint::spin_loop();
    }
}
