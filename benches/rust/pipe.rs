//! How fast a pipe is, beside what the machine can do at best, measured in one run.
//!
//! The bare round trip is two processes that wake each other through one futex each in shared
//! memory: nothing that sleeps can be faster. Rounds of both alternate; figures are medians.
//!
//! Run with `cargo bench -p manyhands-queue --bench pipe`. With `-- --quick` it only shows that it
//! works.

use std::sync::atomic::Ordering;
use std::time::Instant;

use manyhands_queue::pipe::{End, KINDS};
use manyhands_shm::{Carried, family, object};
use manyhands_sys::futex::{Futex, Shared};
use manyhands_testing::fork::{ForkedParty, fork_party};

const STOP: u32 = u32::MAX;

/// Forks as Python does; the child runs `child` and exits.
fn fork(child: impl FnOnce()) -> ForkedParty {
    let child = || {
        child();
        true
    };
    // SAFETY: this program has one thread.
    unsafe { fork_party(child) }
}

fn wait_for(word: &Futex<Shared>, value: u32) {
    loop {
        let now = word.load(Ordering::Acquire);
        if now == value || now == STOP {
            return;
        }
        word.wait(now, None);
    }
}

fn per_trip(n_trips: u32, mut trip: impl FnMut(u32)) -> f64 {
    let started = Instant::now();
    (1..=n_trips).for_each(&mut trip);
    started.elapsed().as_secs_f64() * 1e6 / f64::from(n_trips)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let is_quick = std::env::args().any(|arg| arg == "--quick");
    let (n_rounds, n_trips) = if is_quick { (3, 50) } else { (201, 300) };
    object::register(&KINDS);
    let heap = family::heap().expect("a heap");
    let block = heap.alloc(256).expect("a block");
    // SAFETY: zeroed or not, the words are aligned, inside the block, and set below.
    let words = unsafe { &*block.as_ptr().cast::<[Futex<Shared>; 2]>() };
    words.iter().for_each(|word| word.store(0, Ordering::Release));
    let [ping, pong] = words;
    let (here, there) = End::pair(&heap, true).expect("a pipe");

    let bare = fork(|| {
        let mut seen = 0;
        loop {
            ping.wait(seen, None);
            let now = ping.load(Ordering::Acquire);
            if now == STOP {
                return;
            }
            if now != seen {
                seen = now;
                pong.store(now, Ordering::Release);
                pong.wake_one();
            }
        }
    });
    let echo = fork(|| {
        while let Ok(received) = there.receive_bytes(None) {
            if received.bytes.is_empty()
                || there.send_bytes(0, &received.bytes, Carried::default(), None).is_err()
            {
                return;
            }
        }
    });
    let (mut bare_times, mut pipe_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut turn = 0;
    for round in 0..=n_rounds {
        let bare_us = per_trip(n_trips, |_| {
            turn += 1;
            ping.store(turn, Ordering::Release);
            ping.wake_one();
            wait_for(pong, turn);
        });
        let pipe_us = per_trip(n_trips, |_| {
            here.send_bytes(0, b"sixteen bytes...", Carried::default(), None).expect("it is sent");
            here.receive_bytes(None).expect("an echo");
        });
        if round > 0 {
            bare_times.push(bare_us);
            pipe_times.push(pipe_us);
            ratios.push(pipe_us / bare_us);
        }
    }
    ping.store(STOP, Ordering::Release);
    ping.wake_one();
    here.send_bytes(0, b"", Carried::default(), None).expect("it is sent");
    for child in [bare, echo] {
        let _ = child.ends_well();
    }
    println!("bare futex round trip between processes   {:8.2} us", median(bare_times));
    println!("round trip of 16 bytes through a pipe     {:8.2} us", median(pipe_times));
    println!("pipe / bare (target: at most 2)           {:8.2} times", median(ratios));
}
