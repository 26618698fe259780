//! Shared numbers: what atomic operations do, where slots are, and what a death leaves.

use std::sync::Arc;

use manyhands_shm::cell::{self, Number};
use manyhands_shm::{Heap, HeapConfig, Memory, Shared, SharedSlice, object};
use proptest::prelude::*;

fn heap() -> Arc<Heap> {
    object::register(&[&cell::KIND]);
    Heap::create(HeapConfig::default()).expect("shared memory")
}

#[test]
fn numbers_start_as_zeros_and_keep_what_is_written() {
    let numbers = SharedSlice::<i16>::new(&heap(), 1_000).unwrap();
    assert!((0..1_000).all(|idx| numbers.get(idx) == 0));
    numbers.set(999, -5);
    assert_eq!((numbers.get(998), numbers.get(999), numbers.len()), (0, -5, 1_000));
}

#[test]
fn a_sum_that_the_type_lacks_changes_nothing() {
    let cell = Shared::new(&heap(), 250_u8).unwrap();
    assert_eq!(cell.add(5), Ok(255));
    assert_eq!(cell.add(1), Err(255));
    assert_eq!(cell.sub(255), Ok(0));
    assert_eq!(cell.sub(1), Err(0));
    assert_eq!(cell.get(), 0);
}

#[test]
fn threads_lose_no_update_of_a_float() {
    let cell = Shared::new(&heap(), 0.0_f64).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| assert!(cell.add(0.5).is_ok())));
        }
    });
    assert_eq!(cell.get(), 20_000.0);
}

#[test]
fn a_handle_opens_the_same_numbers() {
    let heap = manyhands_shm::family::heap().expect("shared memory");
    object::register(&[&cell::KIND]);
    let cell = Shared::new(&heap, 7_u32).unwrap();
    let again = Shared::<u32>::open(cell.travel()).unwrap();
    again.set(8);
    assert_eq!(cell.get(), 8);
}

#[test]
fn one_number_is_watched_for_free_and_a_large_array_if_asked() {
    let heap = heap();
    let has_slot = |len, n_watched| {
        let memory = Memory::create(&heap, len, n_watched).unwrap();
        memory.watch(0).is_some()
    };
    assert!(has_slot(8, 0));
    assert!(!has_slot(1 << 20, 0));
    assert!(has_slot(1 << 20, 1));
}

#[test]
fn only_a_write_of_another_thread_to_the_same_cell_is_a_loss() {
    let memory = Memory::create(&heap(), 2 * 8 * 300, 300).unwrap();
    let write = |idx: u64| memory.watch(idx).unwrap().note_write("somewhere:1");
    let lost = |idx: u64, since| memory.watch(idx).unwrap().lost_since(since);
    let elsewhere = |idx: u64| {
        std::thread::scope(|scope| {
            scope.spawn(|| memory.watch(idx).unwrap().note_write("elsewhere:2"));
        });
    };
    let seen = memory.watch(3).unwrap().version();
    assert_eq!(lost(3, seen), None);
    write(3);
    assert_eq!(lost(3, seen), None, "one's own write");
    elsewhere(4);
    assert_eq!(lost(3, seen), None, "another cell");
    elsewhere(3);
    assert_eq!(lost(3, seen), Some("elsewhere:2".to_owned()));
    // Element 259 shares the slot of element 3.
    elsewhere(259);
    assert_eq!(lost(3, seen), None, "the slot is another cell's now");
}

#[test]
fn a_long_text_keeps_its_end() {
    let memory = Memory::create(&heap(), 8, 1).unwrap();
    let seen = memory.watch(0).unwrap().version();
    let long = format!("{}program.py:12", "folder/".repeat(50));
    std::thread::scope(|scope| {
        scope.spawn(|| memory.watch(0).unwrap().note_write(&long));
    });
    let text = memory.watch(0).unwrap().lost_since(seen).unwrap();
    assert!(text.starts_with('…') && text.ends_with("program.py:12"), "{text}");
}

#[test]
fn more_than_the_heap_has_is_out_of_memory() {
    let heap = Heap::create(HeapConfig { limit_bytes: Some(4 << 20) }).unwrap();
    assert!(Memory::create(&heap, 64 << 20, 0).is_err());
    assert!(Memory::create(&heap, u64::MAX - 3, 0).is_err());
    assert!(Memory::create(&heap, 1 << 20, 0).is_ok());
}

proptest! {
    #[test]
    fn operations_agree_with_those_of_a_plain_number(
        start: i32,
        steps in prop::collection::vec((0..4_u8, any::<i32>()), 0..50),
    ) {
        let cell = Shared::new(&heap(), start).unwrap();
        let mut model = start;
        for (step, n) in steps {
            match step {
                0 => {
                    let sum = model.checked_add(n);
                    prop_assert_eq!(cell.add(n), sum.ok_or(model));
                    model = sum.unwrap_or(model);
                }
                1 => {
                    let difference = model.checked_sub(n);
                    prop_assert_eq!(cell.sub(n), difference.ok_or(model));
                    model = difference.unwrap_or(model);
                }
                2 => {
                    prop_assert_eq!(cell.swap(n), model);
                    model = n;
                }
                _ => {
                    let expected = if n % 2 == 0 { model } else { n };
                    let did = cell.compare_exchange(expected, n);
                    prop_assert_eq!(did.is_ok(), expected == model);
                    model = if did.is_ok() { n } else { model };
                }
            }
            prop_assert_eq!(cell.get(), model);
        }
    }
}

#[test]
fn every_type_of_number_does_arithmetic() {
    fn check<T: Number + std::fmt::Debug>(heap: &Arc<Heap>, two: T, three: T, five: T) {
        let cell = Shared::new(heap, two).unwrap();
        assert_eq!(cell.add(three).unwrap(), five);
        assert_eq!(cell.sub(three).unwrap(), two);
        assert_eq!(cell.update(|now| now.plus(three)).unwrap(), five);
        assert!(cell.compare_exchange(five, two).is_ok());
    }
    let heap = heap();
    check(&heap, 2_i8, 3, 5);
    check(&heap, 2_u16, 3, 5);
    check(&heap, 2_i64, 3, 5);
    check(&heap, 2.0_f32, 3.0, 5.0);
    let flag = Shared::new(&heap, false).unwrap();
    assert!(!flag.swap(true));
    assert!(flag.get());
}
