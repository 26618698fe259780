//! Two threads that take two locks in opposite order (row T5).
//!
//! Each has one lock and waits for the other's: without help, for ever. One of the two is told,
//! with a report that names the threads, the locks and the lines; it panics and gives its lock
//! back, and the other one goes on. `MANYHANDS_DEADLOCK=off` shows what it would be like without.

use manyhands::scope;
use manyhands::sync::{Barrier, Mutex};

static KNIFE: Mutex<()> = Mutex::named("knife", ());
static BOARD: Mutex<()> = Mutex::named("board", ());

fn cut(first: &Mutex<()>, second: &Mutex<()>, both_have_one: &Barrier) {
    let _first = first.lock();
    both_have_one.wait().expect("nobody gives up");
    let _second = second.lock();
    println!("cut");
}

fn main() {
    let both_have_one = Barrier::named("both have one", 2);
    let outcome = scope(|group| {
        group.spawn("left", || cut(&KNIFE, &BOARD, &both_have_one));
        group.spawn("right", || cut(&BOARD, &KNIFE, &both_have_one));
    });
    match outcome {
        Ok(()) => println!("no deadlock"),
        Err(failures) => println!("{failures}"),
    }
}
