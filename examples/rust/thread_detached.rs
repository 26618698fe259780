//! Two counting threads that nobody has to wait for, as daemon threads elsewhere (row T2).
//!
//! A thread of `std::thread::spawn` whose handle is dropped is detached: the program ends without
//! it, in the middle of whatever it does. One that is joined comes to its end. (The threads of
//! `manyhands::scope` are never detached.)

use std::thread;
use std::time::Duration;

use manyhands::sync::Mutex;

static COUNTED: Mutex<[u32; 2]> = Mutex::named("counted", [0; 2]);

fn count(who: usize, limit: u32) {
    for _ in 0..limit {
        // A step takes about as long as the timer is coarse, so that 20000 take some seconds.
        thread::sleep(Duration::from_micros(200));
        COUNTED.lock()[who] += 1;
    }
}

fn main() {
    let slow = thread::spawn(|| count(0, 20_000));
    let fast = thread::spawn(|| count(1, 1_000));
    drop(slow);
    fast.join().expect("counting does not panic");
    let [slow, fast] = *COUNTED.lock();
    println!("the joined thread has counted to {fast}");
    println!("the detached one was still counting: {}", slow < 20_000);
}
