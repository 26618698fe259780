//! Many threads at one shared queue: every message arrives once, each putter's in their order, and
//! what each thread saw fits one order of all calls.
//!
//! A wake-up that is lost shows as a hang of half a second each, and as a count of waits that the
//! last test looks at; a real hang is ended by the test runner's watchdog.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use manyhands_queue::Deadline;
use manyhands_queue::shared::{NotGot, NotPut, SharedQueue};
use manyhands_shm::message::{Body, Message};
use manyhands_shm::{Carried, Heap, HeapConfig};

const N_PUTTERS: u64 = 8;
const N_GETTERS: u64 = 8;
const N_ITEMS: u64 = 3_000;

fn heap() -> Arc<Heap> {
    Heap::create(HeapConfig { limit_bytes: Some(256 << 20) }).expect("a heap")
}

fn message(bytes: &[u8]) -> Message<'_> {
    Message { body: Body::Inline(bytes), carried: Carried::default() }
}

/// The number, and so many bytes that some messages are blocks.
fn bytes_of(number: u64) -> Vec<u8> {
    let len = if number.is_multiple_of(50) { 6_000 } else { 8 + number as usize % 60 };
    let mut bytes = vec![number as u8; len];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn number_of(bytes: &[u8]) -> u64 {
    let (head, rest) = bytes.split_first_chunk::<8>().expect("a number");
    let number = u64::from_le_bytes(*head);
    assert!(rest.iter().all(|byte| *byte == number as u8), "message {number} is damaged");
    number
}

fn exchange(maxsize: u64) {
    let heap = heap();
    let queue = SharedQueue::create(&heap, maxsize).expect("room");
    let got = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let putters: Vec<_> = (0..N_PUTTERS)
            .map(|putter| {
                scope.spawn({
                    let queue = queue.clone();
                    move || put_all(&queue, putter)
                })
            })
            .collect();
        for way in 0..N_GETTERS {
            let (queue, got) = (queue.clone(), &got);
            scope.spawn(move || {
                let mine = get_all(&queue, way);
                got.lock().unwrap().push(mine);
            });
        }
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        queue.join();
        queue.shutdown(false);
    });
    let got = got.into_inner().unwrap();
    for mine in &got {
        for putter in 0..N_PUTTERS {
            let of_putter = mine.iter().filter(|number| **number / N_ITEMS == putter);
            assert!(of_putter.is_sorted(), "the messages of one putter came out of order");
        }
    }
    let mut all: Vec<_> = got.into_iter().flatten().collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..N_PUTTERS * N_ITEMS), "a message is lost or doubled");
    drop(queue);
    heap.trim();
    assert!(heap.claimed_bytes() <= 256 << 10, "{} bytes are left", heap.claimed_bytes());
}

fn put_all(queue: &SharedQueue, putter: u64) {
    for number in putter * N_ITEMS..(putter + 1) * N_ITEMS {
        let bytes = bytes_of(number);
        let mut again = message(&bytes);
        loop {
            // Every other putter waits so shortly that many waits time out in the middle of a call.
            let deadline = (putter % 2 == 1).then(|| Deadline::after(Duration::from_micros(30)));
            match queue.put_by(again, deadline) {
                Ok(()) => break,
                Err(NotPut::Full(back)) => again = back,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

fn get_all(queue: &SharedQueue, way: u64) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        let deadline = (way % 3 == 2).then(|| Deadline::after(Duration::from_micros(30)));
        let n_max = if way % 3 == 1 { 7 } else { 1 };
        match queue.get_many(n_max, deadline) {
            Ok(taken) => {
                for taken in taken {
                    got.push(number_of(&taken.bytes));
                    queue.task_done().unwrap();
                }
            }
            Err(NotGot::Empty) => {}
            Err(NotGot::ShutDown) => return got,
            Err(NotGot::OutOfMemory(error)) => panic!("{error}"),
        }
    }
}

#[test]
fn a_queue_of_one_place_loses_and_doubles_nothing() {
    exchange(1);
}

#[test]
fn a_queue_of_ten_places_loses_and_doubles_nothing() {
    exchange(10);
}

#[test]
fn a_queue_without_limit_loses_and_doubles_nothing() {
    exchange(0);
}

/// Counted before and after each call: the number of puts that have certainly happened is never
/// less than what was got, and a queue that is certainly not empty never looks empty.
#[test]
fn what_is_seen_of_the_queue_fits_one_order_of_all_calls() {
    let heap = heap();
    let queue = SharedQueue::create(&heap, 0).expect("room");
    let (begun, done) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let (begun, done, putter) = (&begun, &done, queue.clone());
        scope.spawn(move || {
            for number in 0..50_000_u64 {
                begun.store(number + 1, Ordering::SeqCst);
                putter.put(message(&number.to_le_bytes())).unwrap();
                done.store(number + 1, Ordering::SeqCst);
            }
        });
        for next in 0..50_000_u64 {
            let got = loop {
                let done_before = done.load(Ordering::SeqCst);
                match queue.try_get() {
                    Ok(taken) => break number_of(&taken.bytes),
                    Err(_) => assert!(done_before <= next, "a message that was put is not seen"),
                }
            };
            assert_eq!(got, next);
            assert!(begun.load(Ordering::SeqCst) > next, "a message came before it was put");
        }
    });
}

#[test]
fn a_shutdown_ends_the_waits_of_all() {
    let heap = heap();
    let (empty, full) = (
        SharedQueue::create(&heap, 1).expect("room"),
        SharedQueue::create(&heap, 1).expect("room"),
    );
    full.put(message(b"x")).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(empty.get().is_err()));
            scope.spawn(|| assert!(matches!(full.put(message(b"y")), Err(NotPut::ShutDown(_)))));
        }
        while empty.statistics().n_getters_waiting < 4 || full.statistics().n_putters_waiting < 4 {
            thread::yield_now();
        }
        empty.shutdown(false);
        full.shutdown(true);
    });
    assert!(full.is_empty());
    full.join();
}

#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let heap = heap();
    let queue = SharedQueue::create(&heap, 1).expect("room");
    let timeout = Duration::from_millis(700);
    let started = std::time::Instant::now();
    assert!(matches!(queue.get_for(timeout), Err(NotGot::Empty)));
    assert!(started.elapsed() >= timeout);
    queue.put(message(b"x")).unwrap();
    let started = std::time::Instant::now();
    assert!(matches!(queue.put_for(message(b"y"), timeout), Err(NotPut::Full(_))));
    assert!(started.elapsed() >= timeout);
    assert!(!queue.join_by(Some(Deadline::after(Duration::from_millis(20)))));
}
