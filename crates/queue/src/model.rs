//! loom: no wake-up is lost, no item is lost or doubled, in every interleaving of a few steps.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p manyhands-queue model`.

use std::collections::VecDeque;

use loom::sync::Arc;
use loom::thread;

use crate::locked::Locked;
use crate::order::Arrival;
use crate::outcome::{Nothing, Refused};
use crate::queue::Queue;
use crate::ring::Ring;
use crate::store::Store;

/// Explores with a bound on preemptions: what is wrong here shows with few of them.
fn explore(n_preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(n_preemptions);
    builder.check(model);
}

fn ring(maxsize: usize) -> Ring<u32> {
    Ring::new(maxsize)
}

fn locked(maxsize: usize) -> Locked<u32, Arrival<u32>> {
    Locked::new(Arrival::default(), maxsize)
}

fn a_putter_and_a_getter_never_sleep_past_each_other<S: Store<u32> + 'static>(new: fn(usize) -> S) {
    explore(3, move || {
        let queue = Arc::new(Queue::with_store(new(1)));
        let putter = Arc::clone(&queue);
        let puts = thread::spawn(move || {
            putter.put(1).unwrap();
            putter.put(2).unwrap();
        });
        assert_eq!(queue.get(), Ok(1));
        assert_eq!(queue.get(), Ok(2));
        puts.join().unwrap();
    });
}

fn every_getter_hears_of_the_shutdown<S: Store<u32> + 'static>(new: fn(usize) -> S) {
    explore(2, move || {
        let queue = Arc::new(Queue::with_store(new(1)));
        let other = Arc::clone(&queue);
        let getter = thread::spawn(move || other.iter().count());
        queue.put(1).unwrap();
        queue.shutdown(false);
        let n_got = queue.iter().count();
        assert_eq!(n_got + getter.join().unwrap(), 1);
        assert_eq!(queue.try_put(2), Err(Refused::ShutDown(2)));
    });
}

fn a_putter_asleep_hears_of_the_shutdown<S: Store<u32> + 'static>(new: fn(usize) -> S) {
    explore(3, move || {
        let queue = Arc::new(Queue::with_store(new(1)));
        queue.put(1).unwrap();
        let other = Arc::clone(&queue);
        let putter = thread::spawn(move || other.put(2).is_ok());
        queue.shutdown(true);
        assert!(!putter.join().unwrap());
        assert_eq!(queue.try_get(), Err(Nothing::ShutDown));
        assert_eq!(queue.n_unfinished(), 0);
    });
}

fn a_joiner_hears_of_the_last_item_done<S: Store<u32> + 'static>(new: fn(usize) -> S) {
    explore(3, move || {
        let queue = Arc::new(Queue::with_store(new(2)));
        queue.put(1).unwrap();
        let worker = Arc::clone(&queue);
        let works = thread::spawn(move || {
            worker.get().unwrap();
            worker.task_done().unwrap();
        });
        queue.join();
        works.join().unwrap();
    });
}

#[test]
fn through_a_ring_a_putter_and_a_getter_never_sleep_past_each_other() {
    a_putter_and_a_getter_never_sleep_past_each_other(ring);
}

#[test]
fn under_a_lock_a_putter_and_a_getter_never_sleep_past_each_other() {
    a_putter_and_a_getter_never_sleep_past_each_other(locked);
}

#[test]
fn at_a_ring_every_getter_hears_of_the_shutdown() {
    every_getter_hears_of_the_shutdown(ring);
}

#[test]
fn at_a_locked_store_every_getter_hears_of_the_shutdown() {
    every_getter_hears_of_the_shutdown(locked);
}

#[test]
fn at_a_ring_a_putter_asleep_hears_of_the_shutdown() {
    a_putter_asleep_hears_of_the_shutdown(ring);
}

#[test]
fn at_a_locked_store_a_putter_asleep_hears_of_the_shutdown() {
    a_putter_asleep_hears_of_the_shutdown(locked);
}

#[test]
fn at_a_ring_a_joiner_hears_of_the_last_item_done() {
    a_joiner_hears_of_the_last_item_done(ring);
}

#[test]
fn at_a_locked_store_a_joiner_hears_of_the_last_item_done() {
    a_joiner_hears_of_the_last_item_done(locked);
}

#[test]
fn two_getters_that_sleep_are_both_called_by_one_put_of_two_items() {
    explore(2, || {
        let queue = Arc::new(Queue::with_store(locked(0)));
        let others = [Arc::clone(&queue), Arc::clone(&queue)];
        let getters = others.map(|queue| thread::spawn(move || queue.get().unwrap()));
        let mut items = VecDeque::from([1, 2]);
        queue.try_put_many(&mut items).unwrap();
        let sum: u32 = getters.into_iter().map(|getter| getter.join().unwrap()).sum();
        assert_eq!(sum, 3);
    });
}

#[test]
fn a_waiter_that_gives_up_passes_its_call_on() {
    explore(3, || {
        let queue = Arc::new(Queue::with_store(locked(0)));
        let other = Arc::clone(&queue);
        let getter = thread::spawn(move || other.get().unwrap());
        // Enlisted as one who waits and then raises: it takes nothing.
        let gives_up = queue.enlist_getter();
        queue.try_put(1).unwrap();
        drop(gives_up);
        assert_eq!(getter.join().unwrap(), 1);
    });
}

#[test]
fn two_putters_and_a_getter_at_a_full_ring_exchange_every_item_once() {
    explore(2, || {
        let ring = Arc::new(ring(1));
        let putters = [1, 2].map(|item| {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.push(item).is_ok())
        });
        let got = ring.pop().ok();
        let n_put = putters.into_iter().map(|putter| putter.join().unwrap());
        let n_put = n_put.filter(|put| *put).count();
        let left = ring.pop().ok();
        assert_eq!(n_put, usize::from(got.is_some()) + usize::from(left.is_some()));
        assert!(got.is_none() || got != left);
    });
}
