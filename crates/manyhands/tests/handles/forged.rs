//! Single ways to make a handle up, each with its right answer.

use manyhands::{Pipe, Shared, SharedMutex, SharedQueue, SharedSlice};

use crate::every_type::{Bytes, LEN, Parts, TYPES, Type, bytes_of, opens};

/// The types that the bytes open as.
fn all_that_open(bytes: &[u8]) -> Vec<Type> {
    TYPES.into_iter().filter(|as_type| opens(bytes, *as_type)).collect()
}

#[test]
fn numbers_of_a_program_are_no_object() {
    // What is written as numbers looks like the header of an object, of this layout and others.
    let fake = SharedSlice::<u64>::new(1024).unwrap();
    let parts = Parts::of(bytes_of(&fake));
    for idx in 0..128 {
        let header = [
            u64::from(parts.serial) << 32 | 1,
            u64::from(parts.serial) << 32 | u64::from(parts.kind),
            64,
            u64::MAX / 2,
            0x8000_0001,
            1 << 32 | 0x8000_0001,
            0xffff_ffff,
            64,
        ];
        header.into_iter().enumerate().for_each(|(nth, word)| fake.set(8 * idx + nth, word));
    }
    for step in 1..=(64 + 64 + 1024 * 8) / 8 {
        let forged = Parts { offset: parts.offset + 8 * step, ..parts };
        assert_eq!(all_that_open(&forged.bytes()), [], "{step} words into the object");
    }
}

#[test]
fn the_bytes_of_a_message_are_no_object() {
    // A long message is a block of the family, as an object is, and begins with its bytes.
    let (queue, row) = (SharedQueue::unbounded().unwrap(), SharedSlice::<u64>::new(4).unwrap());
    let parts = Parts::of(bytes_of(&row));
    let header = [
        u64::from(parts.serial) << 32 | u64::from(parts.kind),
        64,
        0,
        0,
        u64::from(parts.serial) << 32 | 1,
    ];
    let message: Vec<u64> = header.into_iter().cycle().take(4096).collect();
    (0..4).for_each(|_| queue.put(&message).unwrap());
    // Wherever they lie: everything in these parts of the heap is tried.
    let region = 256 * 1024;
    let first = parts.offset / region * region;
    for offset in (first.saturating_sub(4 * region)..first + 12 * region).step_by(64) {
        for kind in [parts.kind, Parts::of(bytes_of(&queue)).kind] {
            let forged = Parts { offset, kind, ..parts }.bytes();
            let opened = [Type::RowOfU64, Type::Queue].map(|as_type| opens(&forged, as_type));
            assert_eq!(opened, [forged == bytes_of(&row), false], "at {offset:#x}");
        }
    }
    (0..4).for_each(|_| assert_eq!(queue.get().unwrap(), message));
}

#[test]
fn an_object_opens_as_what_it_is_whatever_kind_the_handle_says() {
    let row = SharedSlice::<u64>::new(16).unwrap();
    for kind in 0..=64 {
        let forged = Parts { kind, ..Parts::of(bytes_of(&row)) }.bytes();
        let is_true = forged == bytes_of(&row);
        let right: &[Type] = if is_true { &[Type::RowOfU64] } else { &[] };
        assert_eq!(all_that_open(&forged), right, "as kind {kind}");
    }
}

#[test]
fn numbers_of_another_size_sort_or_count_are_refused() {
    let as_u64 = bytes_of(&Shared::new(1_u64).unwrap());
    assert_eq!(all_that_open(&as_u64), [], "nobody has it any more");
    let (one, row) = (Shared::new(1_u64).unwrap(), SharedSlice::<f32>::new(2).unwrap());
    assert_eq!(all_that_open(&bytes_of(&one)), [Type::U64]);
    assert_eq!(all_that_open(&bytes_of(&row)), [Type::RowOfF32]);
}

#[test]
fn data_of_another_size_or_alignment_is_refused() {
    let mutex = SharedMutex::new([0_u64; 8]).unwrap();
    assert_eq!(all_that_open(&bytes_of(&mutex)), [Type::Mutex]);
    let narrow = SharedMutex::new([0_u16; 32]).unwrap();
    assert_eq!(all_that_open(&bytes_of(&narrow)), [Type::NarrowMutex]);
    assert_eq!(all_that_open(&bytes_of(&SharedMutex::new([0_u64; 9]).unwrap())), []);
}

#[test]
fn an_old_handle_opens_nothing_that_lies_there_now() {
    for _ in 0..1_000 {
        let old = bytes_of(&Shared::new(1_u64).unwrap());
        let new = Shared::new(2_u64).unwrap();
        assert_ne!(old, bytes_of(&new));
        assert_eq!(all_that_open(&old), []);
    }
}

#[test]
fn a_handle_of_another_family_or_another_length_is_refused() {
    let (here, _there) = Pipe::<u64>::pair().unwrap();
    let bytes = bytes_of(&here);
    assert_eq!(all_that_open(&bytes), [Type::Pipe]);
    for bit in 0..64 {
        let parts = Parts::of(bytes);
        let forged = Parts { family: parts.family ^ 1 << bit, ..parts };
        assert_eq!(all_that_open(&forged.bytes()), []);
    }
    (0..LEN).for_each(|len| assert_eq!(all_that_open(&bytes[..len]), [], "{len} bytes"));
}

#[test]
fn places_outside_of_the_heap_are_refused() {
    let parts = Parts::of(bytes_of(&Shared::new(1_u64).unwrap()));
    let ends = [0, 1, 63, 64, 4096, 1 << 20, 1 << 40, (1 << 40) + (1 << 30), 1 << 63, u64::MAX];
    for offset in ends.into_iter().flat_map(|end| [end.wrapping_sub(64), end, end ^ 63]) {
        let forged: Bytes = Parts { offset, ..parts }.bytes();
        assert_eq!(all_that_open(&forged), [], "at {offset:#x}");
    }
}

#[test]
fn what_is_refused_says_what_it_is_and_what_was_wanted() {
    let queue = SharedQueue::<SharedSlice<f32>>::unbounded().unwrap();
    let bytes = bytes_of(&queue);
    let as_mutexes: SharedQueue<SharedMutex<u32>> = postcard::from_bytes(&bytes).unwrap();
    let as_u64s: SharedQueue<SharedSlice<u64>> = postcard::from_bytes(&bytes).unwrap();
    let row = SharedSlice::new(3).unwrap();
    (0..2).for_each(|_| queue.put(&row).unwrap());
    let text = as_mutexes.get().unwrap_err().to_string();
    assert!(text.contains("of the kind \"shared memory\", not \"mutex\""), "{text}");
    let text = as_u64s.get().unwrap_err().to_string();
    assert!(text.contains("holds a row of f32, not a row of u64"), "{text}");
}
