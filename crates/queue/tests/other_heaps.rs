//! What lies in another heap than a queue or a pipe is refused there: its place would name
//! something else.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use manyhands_queue::pipe::End;
use manyhands_queue::shared::SharedQueue;
use manyhands_shm::message::{Body, Message};
use manyhands_shm::{Carried, Heap, HeapConfig, Memory};

fn heap() -> Arc<Heap> {
    Heap::create(HeapConfig { limit_bytes: Some(64 << 20) }).expect("a heap")
}

fn object_in(heap: &Arc<Heap>) -> Carried {
    let memory = Memory::create(heap, 8, 0).expect("room");
    Carried::collect(|| memory.object().travel()).1
}

#[test]
fn a_queue_refuses_blocks_and_objects_of_another_heap() {
    let (here, there) = (heap(), heap());
    let queue = SharedQueue::create(&here, 0).expect("room");
    let block = |heap: &Arc<Heap>| Body::Block(heap.alloc(100).expect("room"));
    let put = |message| catch_unwind(AssertUnwindSafe(|| queue.try_put(message).is_ok())).ok();
    let message = |body, carried| Message { body, carried };
    assert_eq!(put(message(block(&here), object_in(&here))), Some(true));
    assert_eq!(put(message(block(&there), Carried::default())), None);
    assert_eq!(put(message(block(&here), object_in(&there))), None);
    assert_eq!(put(message(Body::Inline(b"bytes"), object_in(&there))), None);
    let many = catch_unwind(AssertUnwindSafe(|| {
        let wrong = message(block(&there), Carried::default());
        queue.try_put_many(&mut VecDeque::from([wrong])).is_ok()
    }));
    assert!(many.is_err());
    assert_eq!(queue.len(), 1, "what was refused is not there");
    assert!(queue.try_get().is_ok());
}

#[test]
fn a_pipe_refuses_objects_of_another_heap() {
    let (here, there) = (heap(), heap());
    let (one, other) = End::pair(&here, true).expect("room");
    let send = |carried| {
        let sent = catch_unwind(AssertUnwindSafe(|| one.send_bytes(0, b"bytes", carried, None)));
        sent.is_ok()
    };
    assert!(!send(object_in(&there)));
    assert!(send(object_in(&here)));
    assert_eq!(other.receive_bytes(None).expect("it was sent").carried.len(), 1);
}
