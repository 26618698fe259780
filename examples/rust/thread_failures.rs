//! What fails in a thread reaches whoever waits for it (row T3).
//!
//! An `Err` and a panic are both collected, with the name of the thread. The first one asks the
//! other threads of the scope to stop; one that looks at `stop_requested` leaves in order.

use std::thread;

use manyhands::{scope, stop_requested};

fn divide(pot: u32, guests: u32) -> Result<u32, String> {
    pot.checked_div(guests).ok_or_else(|| "nobody came".to_owned())
}

fn main() {
    let outcome = scope(|group| {
        let portions = group.spawn("portions", || divide(12, 0));
        group.spawn("stirring", || {
            while !stop_requested() {
                thread::yield_now();
            }
            println!("stirring: asked to stop");
        });
        println!("portions joined: {:?}", portions.join());
    });
    let failures = outcome.expect_err("a division by zero fails");
    println!("{failures}");

    let outcome = scope(|group| {
        group.spawn("burnt", || {
            let pots: [u32; 0] = [];
            println!("{}", pots.iter().max().expect("there is a pot"));
        });
    });
    for failure in outcome.expect_err("a panic is a failure").list() {
        println!("{:?} panicked: {}", failure.thread(), failure.is_panic());
    }
}
