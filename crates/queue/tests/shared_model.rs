//! Queues between processes against a `VecDeque`: every sequence of calls gives what it would give
//! there, and at its end the heap has all its memory back.

use std::collections::VecDeque;
use std::sync::Arc;

use manyhands_queue::shared::{NotGot, NotPut, SharedQueue};
use manyhands_shm::message::{Body, Message, Taken};
use manyhands_shm::{Block, Carried, Heap, HeapConfig};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    /// In a block that was written before.
    PutBlock(usize),
    PutMany(Vec<usize>),
    Get,
    GetMany(usize),
    Shutdown,
    ShutdownNow,
}

/// Lengths on both sides of every limit: records, segments, blocks, runs.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..40_usize,
        3 => 900..4_200_usize,
        2 => 4_095..4_098_usize,
        1 => 60_000..70_000_usize,
        1 => 250_000..600_000_usize,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => length().prop_map(Step::Put),
        5 => length().prop_map(Step::PutBlock),
        6 => prop::collection::vec(length(), 0..20).prop_map(Step::PutMany),
        25 => Just(Step::Get),
        6 => (0..30_usize).prop_map(Step::GetMany),
        1 => Just(Step::Shutdown),
        1 => Just(Step::ShutdownNow),
    ]
}

fn heap() -> Arc<Heap> {
    Heap::create(HeapConfig { limit_bytes: Some(64 << 20) }).expect("a heap")
}

/// Bytes that differ from message to message.
fn bytes(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|idx| (idx.wrapping_mul(31).wrapping_add(seed) >> 3) as u8).collect()
}

fn inline(bytes: &[u8]) -> Message<'_> {
    Message { body: Body::Inline(bytes), carried: Carried::default() }
}

fn block(heap: &Arc<Heap>, bytes: &[u8]) -> Block {
    let mut block = heap.alloc(bytes.len() as u64).expect("room");
    block.copy_from_slice(bytes);
    block
}

struct Model {
    maxsize: usize,
    items: VecDeque<Vec<u8>>,
    is_closed: bool,
}

impl Model {
    fn has_room(&self) -> bool {
        self.maxsize == 0 || self.items.len() < self.maxsize
    }

    fn check_put(&mut self, put: Result<(), NotPut<'_>>, bytes: Vec<u8>) {
        match put {
            Ok(()) => {
                assert!(!self.is_closed && self.has_room());
                self.items.push_back(bytes);
            }
            Err(NotPut::ShutDown(back)) => {
                assert!(self.is_closed);
                assert_eq!(back.body.len(), bytes.len() as u64);
            }
            Err(NotPut::Full(back)) => {
                assert!(!self.has_room());
                assert_eq!(back.body.len(), bytes.len() as u64);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn check_got(&mut self, got: Result<Taken, NotGot>) {
        match got {
            Ok(taken) => assert_eq!(Some(taken.bytes.to_vec()), self.items.pop_front()),
            Err(NotGot::Empty) => assert!(self.items.is_empty() && !self.is_closed),
            Err(NotGot::ShutDown) => assert!(self.items.is_empty() && self.is_closed),
            Err(NotGot::OutOfMemory(error)) => panic!("{error}"),
        }
    }
}

fn run(queue: &SharedQueue, heap: &Arc<Heap>, model: &mut Model, steps: Vec<Step>) {
    let mut seed = 0;
    let mut fresh = |len| {
        seed += 97;
        bytes(len, seed)
    };
    for step in steps {
        match step {
            Step::Put(len) => {
                let bytes = fresh(len);
                model.check_put(queue.try_put(inline(&bytes)), bytes.clone());
            }
            Step::PutBlock(len) => {
                let bytes = fresh(len);
                let body = Body::Block(block(heap, &bytes));
                let message = Message { body, carried: Carried::default() };
                model.check_put(queue.try_put(message), bytes);
            }
            Step::PutMany(lens) => {
                let all: Vec<_> = lens.into_iter().map(&mut fresh).collect();
                let mut messages: VecDeque<_> = all.iter().map(|bytes| inline(bytes)).collect();
                let is_refused = queue.try_put_many(&mut messages).is_err();
                let n_left = messages.len() + usize::from(is_refused);
                assert_eq!(is_refused, model.is_closed && !all.is_empty());
                model.items.extend(all[..all.len() - n_left].iter().cloned());
                assert!(is_refused || messages.is_empty() || !model.has_room());
            }
            Step::Get => model.check_got(queue.try_get()),
            Step::GetMany(n_max) => {
                let mut taken = Vec::new();
                let n = queue.try_get_many(n_max, &mut taken).unwrap();
                assert_eq!(n, n_max.min(model.items.len()));
                taken.into_iter().for_each(|taken| model.check_got(Ok(taken)));
            }
            Step::Shutdown => {
                queue.shutdown(false);
                model.is_closed = true;
            }
            Step::ShutdownNow => {
                queue.shutdown(true);
                model.is_closed = true;
                model.items.clear();
            }
        }
        assert_eq!(queue.len(), model.items.len() as u64);
        assert_eq!(queue.is_full(), !model.has_room());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_sequence_of_calls_gives_what_a_list_gives(
        maxsize in prop_oneof![Just(0_usize), 1..20_usize],
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let heap = heap();
        let queue = SharedQueue::create(&heap, maxsize as u64).expect("room");
        let mut model = Model { maxsize, items: VecDeque::new(), is_closed: false };
        run(&queue, &heap, &mut model, steps);
        drop(queue);
        heap.trim();
        // What this process has written down about its objects stays.
        prop_assert!(heap.claimed_bytes() <= 256 << 10, "{} bytes are left", heap.claimed_bytes());
    }
}

#[test]
fn a_queue_that_nobody_holds_gives_back_what_nobody_got() {
    let heap = heap();
    let inner = SharedQueue::create(&heap, 0).expect("room");
    let outer = SharedQueue::create(&heap, 0).expect("room");
    inner.try_put(inline(&bytes(300_000, 1))).unwrap();
    let (name, carried) = Carried::collect(|| inner.object().travel().to_bytes());
    outer.try_put(Message { body: Body::Inline(&name), carried }).unwrap();
    let handle = inner.handle();
    drop(inner);
    // The message keeps it.
    assert!(heap.claimed_bytes() > 512 << 10);
    drop(outer);
    heap.trim();
    assert!(heap.claimed_bytes() <= 256 << 10);
    assert!(SharedQueue::open(handle).is_err());
}

#[test]
fn a_queue_inside_a_message_is_whole_for_the_one_who_gets_it() {
    let heap = manyhands_shm::family::heap().expect("a heap");
    let inner = SharedQueue::create(&heap, 0).expect("room");
    let outer = SharedQueue::create(&heap, 0).expect("room");
    inner.try_put(inline(b"rice")).unwrap();
    let (name, carried) = Carried::collect(|| inner.object().travel().to_bytes());
    outer.try_put(Message { body: Body::Inline(&name), carried }).unwrap();
    drop(inner);
    let taken = outer.try_get().unwrap();
    let handle = manyhands_shm::Handle::from_bytes(&taken.bytes).unwrap();
    let again = SharedQueue::open(handle).unwrap();
    drop(taken);
    assert_eq!(&*again.try_get().unwrap().bytes, b"rice");
}

#[test]
fn without_memory_a_put_says_so_and_nothing_is_lost() {
    let heap = Heap::create(HeapConfig { limit_bytes: Some(1 << 20) }).expect("a heap");
    let queue = SharedQueue::create(&heap, 0).expect("room");
    let mut n_put = 0_u64;
    let shortage = loop {
        let bytes = bytes(if n_put.is_multiple_of(7) { 9_000 } else { 700 }, n_put);
        match queue.try_put(inline(&bytes)) {
            Ok(()) => n_put += 1,
            Err(NotPut::OutOfMemory(shortage)) => break shortage,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(shortage.to_string().contains("shared memory could not be had"));
    assert!(n_put > 20);
    for idx in 0..n_put {
        let expected = bytes(if idx.is_multiple_of(7) { 9_000 } else { 700 }, idx);
        assert_eq!(&*queue.try_get().unwrap().bytes, &expected);
    }
    assert!(matches!(queue.try_get(), Err(NotGot::Empty)));
    queue.try_put(inline(b"there is room again")).unwrap();
}

#[test]
fn task_done_more_often_than_put_is_refused() {
    let heap = heap();
    let queue = SharedQueue::create(&heap, 0).expect("room");
    queue.put(inline(b"one")).unwrap();
    assert_eq!(queue.n_unfinished(), 1);
    queue.task_done().unwrap();
    assert!(queue.task_done().is_err());
    queue.join();
}
