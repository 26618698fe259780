//! A thread that takes its time, joined and not joined (row T1).
//!
//! Who joins a thread goes on after it has ended. Who does not goes on at once; the scope then
//! waits at its end, so that no thread outlives what it borrows.

use std::thread;
use std::time::Duration;

use manyhands::{Failures, scope};

const NAP: Duration = Duration::from_secs(1);

fn nap(log: &str) {
    println!("{log}: the thread starts, and sleeps");
    thread::sleep(NAP);
    println!("{log}: the thread ends");
}

fn main() -> Result<(), Failures> {
    scope(|group| {
        let napper = group.spawn("napper", || nap("joined"));
        napper.join();
        println!("joined: main goes on");
    })?;
    scope(|group| {
        group.spawn("napper", || nap("not joined"));
        // Long enough for the thread to start, much shorter than its nap.
        thread::sleep(NAP / 10);
        println!("not joined: main goes on");
    })
}
