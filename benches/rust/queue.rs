//! How fast the queues are, beside crossbeam's channels on the same work, measured in one run.
//!
//! Rounds of both alternate, so that whatever else the machine does meets both; figures are
//! medians over the rounds.
//!
//! Run with `cargo bench -p manyhands-queue --bench queue`. With `-- --quick` it only shows that
//! it works.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use crossbeam_channel as crossbeam;
use manyhands_queue::{LifoQueue, PriorityQueue, Queue};

const MAXSIZE: usize = 1_000;

/// How much is measured.
struct Size {
    n_rounds: usize,
    n_items: u64,
}

/// One question, and what answers it; each returns nanoseconds per item.
struct Row {
    name: &'static str,
    ours: Measure,
    crossbeam: Measure,
}

type Measure = fn(u64) -> f64;

const ROWS: [Row; 5] = [
    Row {
        name: "put + get, one thread, bounded",
        ours: |n| ours_alone(n, &Queue::bounded(MAXSIZE)),
        crossbeam: |n| crossbeam_alone(n, crossbeam::bounded(MAXSIZE)),
    },
    Row {
        name: "put + get, one thread, unbounded",
        ours: |n| ours_alone(n, &Queue::unbounded()),
        crossbeam: |n| crossbeam_alone(n, crossbeam::unbounded()),
    },
    Row {
        name: "1 -> 1, bounded",
        ours: |n| ours_between(n, 1, &Queue::bounded(MAXSIZE)),
        crossbeam: |n| crossbeam_between(n, 1, crossbeam::bounded(MAXSIZE)),
    },
    Row {
        name: "4 -> 4, bounded",
        ours: |n| ours_between(n, 4, &Queue::bounded(MAXSIZE)),
        crossbeam: |n| crossbeam_between(n, 4, crossbeam::bounded(MAXSIZE)),
    },
    Row {
        name: "1 -> 1, one at a time",
        ours: |n| ours_between(n / 50, 1, &Queue::bounded(1)),
        crossbeam: |n| crossbeam_between(n / 50, 1, crossbeam::bounded(1)),
    },
];

fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let size = if is_quick {
        Size { n_rounds: 1, n_items: 20_000 }
    } else {
        Size { n_rounds: 21, n_items: 500_000 }
    };
    println!("{:<36}{:>10}{:>12}{:>10}", "ns per item", "ours", "crossbeam", "ours/cb");
    for Row { name, ours, crossbeam } in ROWS {
        let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
        for _ in 0..size.n_rounds {
            our_rounds.push(ours(size.n_items));
            their_rounds.push(crossbeam(size.n_items));
        }
        let (ours, theirs) = (median(our_rounds), median(their_rounds));
        println!("{name:<36}{ours:>10.1}{theirs:>12.1}{:>10.2}", ours / theirs);
    }
    // Nothing of crossbeam's to set these beside.
    let alone: [(&str, Measure); 2] = [
        ("put + get, one thread, last first", |n| {
            let queue = LifoQueue::last_first(MAXSIZE);
            alone(n, |item| queue.put(item).unwrap(), || queue.get().unwrap())
        }),
        ("put + get, one thread, smallest first", |n| {
            let queue = PriorityQueue::smallest_first(MAXSIZE);
            alone(n, |item| queue.put(item).unwrap(), || queue.get().unwrap())
        }),
    ];
    for (name, measure) in alone {
        let rounds = (0..size.n_rounds).map(|_| measure(size.n_items)).collect();
        println!("{name:<36}{:>10.1}", median(rounds));
    }
}

fn ours_alone(n_items: u64, queue: &Queue<u64>) -> f64 {
    alone(n_items, |item| queue.put(item).unwrap(), || queue.get().unwrap())
}

fn crossbeam_alone(
    n_items: u64,
    (sender, receiver): (crossbeam::Sender<u64>, crossbeam::Receiver<u64>),
) -> f64 {
    alone(n_items, |item| sender.send(item).unwrap(), || receiver.recv().unwrap())
}

fn ours_between(n_items: u64, n_pairs: u64, queue: &Queue<u64>) -> f64 {
    between(n_items, n_pairs, |item| queue.put(item).unwrap(), || queue.get().unwrap())
}

fn crossbeam_between(
    n_items: u64,
    n_pairs: u64,
    (sender, receiver): (crossbeam::Sender<u64>, crossbeam::Receiver<u64>),
) -> f64 {
    let put = |item| sender.send(item).unwrap();
    between(n_items, n_pairs, put, || receiver.recv().unwrap())
}

/// Each item is put and got by the same thread.
fn alone(n_items: u64, put: impl Fn(u64), get: impl Fn() -> u64) -> f64 {
    let started = Instant::now();
    for item in 0..n_items {
        put(black_box(item));
        black_box(get());
    }
    started.elapsed().as_nanos() as f64 / n_items as f64
}

/// `n_pairs` threads put, as many get.
fn between(
    n_items: u64,
    n_pairs: u64,
    put: impl Fn(u64) + Sync,
    get: impl Fn() -> u64 + Sync,
) -> f64 {
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..n_pairs {
            scope.spawn(|| (0..n_items / n_pairs).for_each(&put));
            scope.spawn(|| {
                for _ in 0..n_items / n_pairs {
                    black_box(get());
                }
            });
        }
    });
    started.elapsed().as_nanos() as f64 / n_items as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
