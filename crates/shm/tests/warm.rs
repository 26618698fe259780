//! Large blocks that keep their pages after they were given back.

use std::sync::Arc;

use manyhands_shm::{Heap, HeapConfig, Party};

fn heap(limit_bytes: u64) -> Arc<Heap> {
    Heap::create(HeapConfig { limit_bytes: Some(limit_bytes) }).expect("a heap")
}

const MIB: u64 = 1 << 20;

#[test]
fn the_next_block_of_the_same_size_gets_the_pages_of_the_last() {
    let heap = heap(256 * MIB);
    let mut block = heap.alloc_for_overwrite(8 * MIB).expect("room");
    block.fill(1);
    let at = block.at();
    drop(block);
    assert_eq!((heap.claimed_bytes(), heap.warm_bytes()), (0, 8 * MIB));
    let block = heap.alloc_for_overwrite(8 * MIB).expect("room");
    assert_eq!(block.at(), at);
    assert_eq!(block[0], 1, "its pages were given back");
    assert_eq!(heap.warm_bytes(), 0);
}

#[test]
fn whoever_wants_zeros_gets_no_warm_block() {
    let heap = heap(256 * MIB);
    heap.alloc(MIB).expect("room").fill(1);
    let block = heap.alloc(MIB).expect("room");
    assert!(block.iter().all(|byte| *byte == 0));
}

#[test]
fn a_longer_block_in_as_many_regions_has_all_its_pages() {
    let heap = heap(256 * MIB);
    drop(heap.alloc(MIB + 1).expect("room"));
    let before = heap.resident_bytes().expect("the file can be asked");
    let longer = heap.alloc_for_overwrite(MIB + 200_000).expect("room");
    assert_eq!(heap.warm_bytes(), 0);
    let after = heap.resident_bytes().expect("the file can be asked");
    assert!(after - before >= 190_000, "only {} bytes more are there", after - before);
    drop(longer);
}

#[test]
fn a_ticket_of_a_block_that_was_given_back_takes_nothing_over() {
    let heap = heap(256 * MIB);
    let block = heap.alloc_for_overwrite(MIB).expect("room");
    let ticket = block.ticket();
    drop(block);
    // SAFETY: refused, as that block is gone.
    assert!(unsafe { heap.take_over_exactly(ticket, heap.me()) }.expect("room").is_none());
    let again = heap.alloc_for_overwrite(MIB).expect("room");
    assert_eq!(again.at(), ticket.at());
    again.give_to(Party::FAMILY);
    // SAFETY: refused, as that block is gone.
    assert!(unsafe { heap.take_over_exactly(ticket, Party::FAMILY) }.expect("room").is_none());
}

#[test]
fn warm_blocks_make_room_when_it_is_short() {
    let heap = heap(16 * MIB);
    drop(heap.alloc(7 * MIB).expect("room"));
    drop(heap.alloc_for_overwrite(6 * MIB).expect("room"));
    assert_eq!(heap.warm_bytes(), 13 * MIB);
    drop(heap.alloc(15 * MIB).expect("warm blocks are in nobody's way"));
}

#[test]
fn no_more_than_so_many_bytes_stay_warm_and_a_trim_ends_it() {
    let heap = heap(1 << 30);
    let blocks: Vec<_> = (1..=20).map(|n| heap.alloc(n * MIB).expect("room")).collect();
    drop(blocks);
    assert!(heap.warm_bytes() <= 64 * MIB);
    heap.trim();
    assert_eq!((heap.warm_bytes(), heap.claimed_bytes()), (0, 0));
}
