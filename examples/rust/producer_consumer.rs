//! A producer and a consumer with a queue between them (row T6).
//!
//! The producer puts numbers from 1 to 10 into a queue with room for ten until it is told that it
//! is enough. How does the consumer know that no number will come any more?
//!
//! - It looks at the clock: every wait has a timeout, and then it looks around.
//! - It does not, and waits for a producer that has gone: it is told instead of waiting for ever.
//! - The producer shuts the queue down, and the consumer's loop ends.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use manyhands::queue::{LifoQueue, PriorityQueue, Queue};

const N_ENOUGH: usize = 100;

/// Puts numbers until it is enough; which.
fn produce(numbers: &Queue<u64>, is_enough: &AtomicBool) -> Vec<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let (mut seed, mut sent) = (now.as_nanos() as u64 | 1, Vec::new());
    while !is_enough.load(Ordering::Relaxed) {
        // George Marsaglia's xorshift: random enough for numbers from 1 to 10.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let number = seed % 10 + 1;
        numbers.put(number).expect("nobody shuts the queue down yet");
        sent.push(number);
    }
    sent
}

fn watch_the_clock() {
    let (numbers, is_enough) = (Queue::bounded(10), AtomicBool::new(false));
    thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&numbers, &is_enough));
        let mut got = Vec::new();
        while !producer.is_finished() || !numbers.is_empty() {
            got.extend(numbers.get_for(Duration::from_millis(50)));
            is_enough.store(got.len() >= N_ENOUGH, Ordering::Relaxed);
        }
        let sent = producer.join().expect("the producer ends well");
        println!("watching the clock: nothing lost: {}", got == sent);
    });
}

fn forget_it() {
    let numbers = Queue::bounded(10).named("numbers");
    thread::scope(|scope| {
        scope.spawn(|| numbers.put(7).expect("the queue is open"));
    });
    // The report comes as a panic, and is on standard error.
    let consume = || numbers.iter().for_each(drop);
    let told = panic::catch_unwind(AssertUnwindSafe(consume)).is_err();
    println!("forgotten: the consumer was told: {told}");
}

fn shut_down() {
    let (numbers, is_enough) = (Queue::bounded(10), AtomicBool::new(false));
    thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let sent = produce(&numbers, &is_enough);
            numbers.shutdown(false);
            sent
        });
        let mut got = Vec::new();
        for number in &numbers {
            got.push(number);
            is_enough.store(got.len() >= N_ENOUGH, Ordering::Relaxed);
        }
        let sent = producer.join().expect("the producer ends well");
        println!("shut down: nothing lost: {}", got == sent);
    });
}

fn main() {
    watch_the_clock();
    forget_it();
    shut_down();
    let last_first = LifoQueue::last_first(0);
    let smallest_first = PriorityQueue::smallest_first(0);
    for number in [1, 2, 3] {
        last_first.put(number).expect("the queue is open");
        smallest_first.put(4 - number).expect("the queue is open");
    }
    last_first.shutdown(false);
    smallest_first.shutdown(false);
    let in_words = |numbers: Vec<i32>| numbers.iter().map(i32::to_string).collect::<Vec<_>>();
    println!("last first: {}", in_words(last_first.iter().collect()).join(" "));
    println!("smallest first: {}", in_words(smallest_first.iter().collect()).join(" "));
}
