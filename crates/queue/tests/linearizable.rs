//! Small random histories of several threads, each explained by some order of its calls.
//!
//! Threads call put and get at once and note when each call began and ended. The history is right
//! if the calls can be put into one sequence that a plain queue would produce, in which no call
//! comes before one that had ended when it began.

use std::collections::VecDeque;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use manyhands_queue::{Arrival, LastFirst, Locked, Nothing, Queue, Refused, Ring, Store};
use manyhands_testing::random::Random;

const N_THREADS: usize = 3;
const N_CALLS: usize = 4;
const N_HISTORIES: usize = 2_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Put(u32),
    Full,
    Got(u32),
    Empty,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    began: usize,
    ended: usize,
    outcome: Outcome,
}

/// Lets the threads of one history make their calls at the same time.
fn record<S: Store<u32>>(queue: &Queue<u32, S>, seed: usize) -> Vec<Event> {
    let (clock, start) = (AtomicUsize::new(0), Barrier::new(N_THREADS));
    let work = |thread: usize| {
        start.wait();
        let call = |number: usize| {
            let item = (thread * N_CALLS + number) as u32;
            let is_put = (seed >> (thread * N_CALLS + number)) & 1 == 0;
            let began = clock.fetch_add(1, Ordering::SeqCst);
            let outcome = if is_put {
                match queue.try_put(item) {
                    Ok(()) => Outcome::Put(item),
                    Err(Refused::Full(_)) => Outcome::Full,
                    Err(Refused::ShutDown(_)) => unreachable!("nobody shuts it down"),
                }
            } else {
                match queue.try_get() {
                    Ok(item) => Outcome::Got(item),
                    Err(Nothing::Empty) => Outcome::Empty,
                    Err(Nothing::ShutDown) => unreachable!("nobody shuts it down"),
                }
            };
            Event { began, ended: clock.fetch_add(1, Ordering::SeqCst), outcome }
        };
        (0..N_CALLS).map(call).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..N_THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Whether `left` can go on from `items`: tries every call that may come next.
fn is_explained(
    left: &[Event],
    items: &VecDeque<u32>,
    maxsize: usize,
    next: fn(&mut VecDeque<u32>) -> Option<u32>,
) -> bool {
    let Some(first_end) = left.iter().map(|event| event.ended).min() else { return true };
    (0..left.len()).filter(|at| left[*at].began < first_end).any(|at| {
        let mut items = items.clone();
        let is_possible = match left[at].outcome {
            Outcome::Put(item) => {
                items.push_back(item);
                items.len() <= maxsize
            }
            Outcome::Full => items.len() == maxsize,
            Outcome::Got(item) => next(&mut items) == Some(item),
            Outcome::Empty => items.is_empty(),
        };
        let mut left = left.to_vec();
        left.swap_remove(at);
        is_possible && is_explained(&left, &items, maxsize, next)
    })
}

fn check<S: Store<u32>>(new: fn() -> S, next: fn(&mut VecDeque<u32>) -> Option<u32>) {
    let mut random = Random::new(Random::SEED);
    for _ in 0..N_HISTORIES {
        let queue = Queue::with_store(new());
        let history = record(&queue, random.index(1 << 44));
        let maxsize = queue.maxsize();
        assert!(is_explained(&history, &VecDeque::new(), maxsize, next), "{history:#?}");
    }
}

#[test]
fn every_history_of_a_ring_is_that_of_a_queue() {
    check(|| Ring::new(2), VecDeque::pop_front);
}

#[test]
fn every_history_of_a_locked_deque_is_that_of_a_queue() {
    check(|| Locked::new(Arrival::default(), 2), VecDeque::pop_front);
}

#[test]
fn every_history_of_a_locked_stack_is_that_of_a_stack() {
    check(|| Locked::new(LastFirst::default(), 2), VecDeque::pop_back);
}

#[test]
fn a_history_that_no_queue_could_produce_is_found() {
    let event = |at: usize, outcome| Event { began: 2 * at, ended: 2 * at + 1, outcome };
    let outcomes = [Outcome::Put(1), Outcome::Put(2), Outcome::Got(2)];
    let history: Vec<_> = outcomes.into_iter().enumerate().map(|(at, o)| event(at, o)).collect();
    assert!(!is_explained(&history, &VecDeque::new(), 2, VecDeque::pop_front));
    assert!(is_explained(&history, &VecDeque::new(), 2, VecDeque::pop_back));
}
