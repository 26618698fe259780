//! Many threads on few processors: every item arrives once, and each putter's items in order.
//!
//! A wake-up that is lost shows as a hang, which the test runner's watchdog ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use manyhands_queue::{
    Arrival, Deadline, Fifo, LastFirst, Locked, Nothing, Queue, Refused, SmallestFirst, Store,
};

const N_PUTTERS: u64 = 32;
const N_GETTERS: u64 = 32;
const N_ITEMS: u64 = 2_000;

/// 32 threads put, 32 get until the queue is shut down. What each getter got, in its order.
fn exchange<S: Store<u64>>(queue: &Queue<u64, S>) -> Vec<Vec<u64>> {
    thread::scope(|scope| {
        let getters: Vec<_> =
            (0..N_GETTERS).map(|way| scope.spawn(move || get_all(queue, way))).collect();
        let putters: Vec<_> =
            (0..N_PUTTERS).map(|putter| scope.spawn(move || put_all(queue, putter))).collect();
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        queue.join();
        queue.shutdown(false);
        getters.into_iter().map(|getter| getter.join().unwrap()).collect()
    })
}

/// Puts this putter's items in their order, in one of three ways.
fn put_all<S: Store<u64>>(queue: &Queue<u64, S>, putter: u64) {
    let items = (0..N_ITEMS).map(|number| putter * N_ITEMS + number);
    match putter % 3 {
        0 => items.for_each(|item| queue.put(item).unwrap()),
        1 => assert_eq!(queue.put_many(items, None), Ok(())),
        _ => items.for_each(|mut item| {
            loop {
                // So short that many of them time out in the middle of a call.
                match queue.put_by(item, Some(Deadline::after(Duration::from_micros(30)))) {
                    Ok(()) => break,
                    Err(Refused::Full(back)) => item = back,
                    Err(Refused::ShutDown(_)) => panic!("nobody shut the queue down"),
                }
            }
        }),
    }
}

/// Gets items, in one of three ways, until the queue is shut down and empty.
fn get_all<S: Store<u64>>(queue: &Queue<u64, S>, way: u64) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        let deadline = (way % 3 == 2).then(|| Deadline::after(Duration::from_micros(30)));
        let n_max = if way % 3 == 1 { 7 } else { 1 };
        match queue.get_many(n_max, deadline) {
            Ok(items) => {
                items.iter().for_each(|_| queue.task_done().unwrap());
                got.extend(items);
            }
            Err(Nothing::Empty) => {}
            Err(Nothing::ShutDown) => return got,
        }
    }
}

fn assert_every_item_arrived_once(got: &[Vec<u64>]) {
    let mut items: Vec<u64> = got.iter().flatten().copied().collect();
    items.sort_unstable();
    assert!(items.into_iter().eq(0..N_PUTTERS * N_ITEMS));
}

fn assert_each_putter_in_order(got: &[Vec<u64>]) {
    for items in got {
        for putter in 0..N_PUTTERS {
            let mut numbers = items.iter().filter(|item| **item / N_ITEMS == putter);
            let mut before = numbers.next();
            for number in numbers {
                assert!(before < Some(number), "putter {putter}: {before:?} before {number}");
                before = Some(number);
            }
        }
    }
}

#[test]
fn sixty_four_threads_at_a_ring_lose_and_reorder_nothing() {
    for maxsize in [1, 2, 7, 100] {
        let got = exchange(&Queue::bounded(maxsize));
        assert_every_item_arrived_once(&got);
        assert_each_putter_in_order(&got);
    }
}

#[test]
fn sixty_four_threads_at_an_unlimited_queue_lose_and_reorder_nothing() {
    let got = exchange(&Queue::with_store(Fifo::new(0)));
    assert_every_item_arrived_once(&got);
    assert_each_putter_in_order(&got);
}

#[test]
fn sixty_four_threads_at_a_locked_deque_lose_and_reorder_nothing() {
    let got = exchange(&Queue::with_store(Locked::new(Arrival::default(), 3)));
    assert_every_item_arrived_once(&got);
    assert_each_putter_in_order(&got);
}

#[test]
fn sixty_four_threads_lose_nothing_last_in_first_out() {
    let order = LastFirst::default();
    assert_every_item_arrived_once(&exchange(&Queue::with_store(Locked::new(order, 10))));
}

#[test]
fn sixty_four_threads_lose_nothing_by_priority() {
    let order = SmallestFirst::default();
    assert_every_item_arrived_once(&exchange(&Queue::with_store(Locked::new(order, 10))));
}

#[test]
fn a_shutdown_in_the_middle_divides_the_items_into_refused_and_delivered() {
    for round in 0..200 {
        let queue = Queue::bounded(1 + round % 5);
        let (n_put, n_got) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while queue.put(()).is_ok() {
                        n_put.fetch_add(1, Ordering::Relaxed);
                    }
                });
                scope.spawn(|| n_got.fetch_add(queue.iter().count() as u64, Ordering::Relaxed));
            }
            while queue.statistics().n_got < round as u64 {
                thread::yield_now();
            }
            queue.shutdown(false);
        });
        assert_eq!(n_put.into_inner(), n_got.into_inner());
        assert!(queue.is_empty());
    }
}

#[test]
fn an_immediate_shutdown_in_the_middle_ends_every_wait_and_leaves_nothing_unfinished() {
    for round in 0..200 {
        let queue = Queue::bounded(3);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| while queue.put(()).is_ok() {});
                scope.spawn(|| {
                    for () in &queue {
                        queue.task_done().unwrap();
                    }
                });
            }
            while queue.statistics().n_got < round {
                thread::yield_now();
            }
            queue.shutdown(true);
            queue.join();
        });
        assert_eq!(queue.n_unfinished(), 0);
    }
}
