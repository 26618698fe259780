//! A heap that a process keeps outlives its users, without the memory that they had.
//!
//! Alone in its program: the family is a fact about the whole process.

use std::sync::Arc;

use manyhands_shm::object::Shape;
use manyhands_shm::{Heap, Kind, Object, OutOfMemory, family, object};

// SAFETY: the one kind of this number, whose end does nothing.
static KIND: Kind =
    unsafe { Kind::new(object::ids::TEST, "test object", |_, _| true, |_, _, _| {}) };

const MIB: u64 = 1 << 20;

/// A new object of `len` zeros.
fn create(heap: &Arc<Heap>, len: u64) -> Result<Object, OutOfMemory> {
    // SAFETY: zeros are an object of this kind.
    unsafe { Object::create(heap, &KIND, Shape::NONE, len) }
}

#[test]
fn a_kept_heap_outlives_its_last_object_but_no_large_pages_do() {
    object::register(&[&KIND]);
    let heap = family::heap().expect("a heap");
    let first = heap.family();
    drop(heap);
    assert!(family::existing().is_none(), "nobody has asked to keep it");

    let heap = family::kept_heap().expect("a heap");
    let kept = heap.family();
    assert_ne!(kept, first);
    let small = create(&heap, 8).expect("room");
    drop(create(&heap, 8 * MIB).expect("room"));
    assert!(heap.warm_bytes() >= 8 * MIB, "there is another object: the next may be as large");
    let observer = Arc::downgrade(&heap);
    drop(heap);
    drop(small);
    let heap = observer.upgrade().expect("it is kept");
    assert_eq!((heap.family(), heap.warm_bytes()), (kept, 0));
    assert!(heap.resident_bytes().expect("a number") < MIB);
    assert_eq!(family::heap().expect("the same").family(), kept);
}
