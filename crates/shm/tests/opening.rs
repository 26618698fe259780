//! What a handle opens, below the types of any front: the start of a living object of that kind,
//! and no other place, whoever wrote what there.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use manyhands_shm::object::{self, Shape, Sort};
use manyhands_shm::{Carried, Handle, Heap, Kind, Object, OpenError, Party, family};

// SAFETY: the one kind of this number, whose end does nothing.
static KIND: Kind = unsafe { Kind::new(object::ids::TEST, "test object", fits, |_, _, _| {}) };

/// An object whose first number is how many follow.
unsafe fn fits(payload: NonNull<u8>, len: u64) -> bool {
    // SAFETY: objects of this kind have at least one number, aligned.
    let n = unsafe { payload.cast::<AtomicU64>().as_ref() }.load(Ordering::Relaxed);
    n.checked_add(1).and_then(|n| n.checked_mul(8)).is_some_and(|all| all <= len)
}

fn create(heap: &Arc<Heap>, shape: Shape, len: u64) -> Object {
    // SAFETY: zeros say that nothing follows.
    unsafe { Object::create(heap, &KIND, shape, len) }.expect("room")
}

fn heap() -> Arc<Heap> {
    object::register(&[&KIND, &manyhands_shm::cell::KIND]);
    family::kept_heap().expect("a heap")
}

fn open(handle: Handle) -> Result<Object, OpenError> {
    Object::open(handle, &KIND)
}

const GONE: OpenError = OpenError::Gone { what: "test object" };
const MALFORMED: OpenError = OpenError::Malformed { what: "test object" };

/// The handle of an object that this process does not have, but a message of its.
fn sent(heap: &Arc<Heap>, len: u64) -> (Handle, Carried) {
    let object = create(heap, Shape::NONE, len);
    Carried::collect(|| object.travel())
}

#[test]
fn only_the_start_of_an_object_opens() {
    let heap = heap();
    // In a block cut from a region, and in one of regions of its own.
    for len in [8, 60_000, 1_000_000] {
        let (handle, carried) = sent(&heap, len);
        assert!(open(handle).is_ok_and(|object| object.len() == len));
        for step in (1..(len + 64) / 8).step_by(1 + len as usize / 4_000) {
            let inside = Handle { offset: handle.offset + 8 * step, ..handle };
            assert!(matches!(open(inside), Err(MALFORMED | GONE)), "{step} words inside");
        }
        drop(carried);
        assert_eq!(open(handle), Err(GONE));
    }
}

#[test]
fn blocks_that_are_no_objects_open_nothing_whatever_lies_in_them() {
    let heap = heap();
    let (handle, _carried) = sent(&heap, 8);
    for len in [200, 1_000_000] {
        let mut block = heap.alloc(len).expect("room");
        // What the header of the object is.
        let base = heap.address(handle.offset, 64);
        // SAFETY: the object lives, and its header does not change.
        let header = unsafe { std::slice::from_raw_parts(base.as_ptr(), 64) };
        block[..64].copy_from_slice(header);
        let at = Handle { offset: block.at().offset, ..handle };
        assert_eq!(open(at), Err(GONE), "a block of this process");
        block.give_to(Party::FAMILY);
        assert_eq!(open(at), Err(GONE), "a block of the family, as messages are");
    }
}

#[test]
fn a_block_is_not_given_to_a_number_that_makes_it_an_object() {
    let heap = heap();
    let (handle, _carried) = sent(&heap, 8);
    for number in [1 << 31, 1 << 31 | 1, 1 << 31 | 77, u32::MAX - 1] {
        let mut block = heap.alloc(200).expect("room");
        block.fill(1);
        let at = block.give_to(Party::from_number(number));
        assert!(open(Handle { offset: at.offset, ..handle }).is_err(), "{number:#x}");
    }
    assert_eq!(Party::from_number(u32::MAX), Party::FAMILY);
}

#[test]
fn what_an_object_says_of_lengths_in_it_has_to_fit() {
    let heap = heap();
    let (handle, _carried) = sent(&heap, 80);
    let set = |n: u64| {
        let number = heap.address(handle.offset + 64, 8).cast::<AtomicU64>();
        // SAFETY: the first number of the object, which lives.
        unsafe { number.as_ref() }.store(n, Ordering::Relaxed);
    };
    for (n, right) in [(0, true), (9, true), (10, false), (u64::MAX, false), (1 << 61, false)] {
        set(n);
        let opened = open(handle).map(drop);
        assert_eq!(opened, if right { Ok(()) } else { Err(MALFORMED) }, "{n} numbers");
    }
    set(9);
    assert!(open(handle).is_ok(), "who was refused has left it as it was");
}

#[test]
fn a_wrong_serial_number_or_kind_leaves_the_count_as_it_was() {
    let heap = heap();
    let (handle, carried) = sent(&heap, 8);
    for wrong in [1, u32::MAX, 1 << 31] {
        let old = Handle { serial: handle.serial.wrapping_add(wrong), ..handle };
        assert_eq!(open(old), Err(GONE));
    }
    let other = manyhands_shm::Memory::create(&heap, 8, 0).expect("room");
    let (other, _carried) = Carried::collect(|| other.object().travel());
    let as_test = Handle { kind: KIND.id(), ..other };
    assert!(matches!(open(as_test), Err(OpenError::WrongKind { found: "shared memory", .. })));
    assert!(manyhands_shm::Memory::open(other).is_ok());
    drop(carried);
    assert_eq!(open(handle), Err(GONE), "the message had the only reference");
}

#[test]
fn an_object_that_is_here_is_checked_as_one_that_is_not() {
    let heap = heap();
    let object = create(&heap, Shape::one::<u64>(Sort::Plain), 8);
    let handle = object.handle();
    assert_eq!(open(handle).as_ref(), Ok(&object));
    let as_memory = Handle { kind: object::ids::MEMORY, ..handle };
    let error = manyhands_shm::Memory::open(as_memory).map(drop);
    assert!(matches!(error, Err(OpenError::WrongKind { found: "test object", .. })));
    let open_as = |shape| Object::open_as(handle, &KIND, shape).map(drop);
    assert_eq!(open_as(Shape::one::<u64>(Sort::Plain)), Ok(()));
    for wrong in [Shape::NONE, Shape::one::<u32>(Sort::Plain), Shape::row::<u64>(Sort::Plain)] {
        assert!(matches!(open_as(wrong), Err(OpenError::WrongShape { .. })), "{wrong}");
    }
}

#[test]
fn references_that_a_message_does_not_have_are_neither_taken_nor_counted() {
    let heap = heap();
    let (handle, carried) = sent(&heap, 8);
    let wrong = [
        Handle { serial: handle.serial.wrapping_add(1), ..handle },
        Handle { offset: handle.offset + 64, ..handle },
        Handle { offset: 64, ..handle },
        Handle { offset: u64::MAX - 63, ..handle },
    ];
    // SAFETY: none of them is of a living object.
    let taken = unsafe { Carried::from_message(&heap, &wrong) };
    assert!(taken.is_empty());
    assert!(Carried::copied(&heap, &wrong).expect("room").is_empty());
    // SAFETY: as above.
    unsafe { object::release_message(&heap, &wrong) };
    assert!(open(handle).is_ok());
    drop(carried);
    assert_eq!(open(handle), Err(GONE));
}

#[test]
fn a_message_counts_objects_of_one_heap() {
    let heap = heap();
    let other_heap = Heap::create(manyhands_shm::HeapConfig::default()).expect("a heap");
    let (here, there) = (create(&heap, Shape::NONE, 8), create(&other_heap, Shape::NONE, 8));
    let (_, carried) = Carried::collect(|| (here.travel(), there.travel()));
    assert_eq!(carried.handles(), [here.handle()]);
    assert!(carried.is_in(&heap) && !carried.is_in(&other_heap));
    let block = other_heap.alloc(8).expect("room");
    assert!(block.is_in(&other_heap) && !block.is_in(&heap));
}
