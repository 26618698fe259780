//! The limit of a heap.

use manyhands_shm::{Heap, HeapConfig};

#[test]
fn a_full_heap_says_so_and_stays_usable() {
    let heap = Heap::create(HeapConfig { limit_bytes: Some(4 << 20) }).expect("a heap");
    let mut blocks = Vec::new();
    let error = loop {
        match heap.alloc(300_000) {
            Ok(block) => blocks.push(block),
            Err(error) => break error,
        }
    };
    assert_eq!(error.wanted(), 300_000);
    assert_eq!(
        error.to_string(),
        "300000 bytes of shared memory could not be had: the heap is limited to 4194304 bytes and \
         lacks a gap of that size"
    );
    assert_eq!(blocks.len(), 8, "each takes two of sixteen regions");
    blocks.pop();
    let small: Vec<_> = (0..100).map(|_| heap.alloc(1_000).expect("there is room again")).collect();
    drop(small);
    heap.trim();
    blocks.push(heap.alloc(300_000).expect("there is room again"));
    blocks.clear();
    heap.trim();
    assert_eq!(heap.claimed_bytes(), 0);
}

#[test]
fn absurd_lengths_are_refused_like_large_ones() {
    let heap = Heap::create(HeapConfig::default()).expect("a heap");
    for len in [u64::MAX, u64::MAX - 1, 1 << 62, (1 << 40) + 1] {
        heap.alloc(len).expect_err("more than there is");
        heap.alloc_sparse(len).expect_err("more than there is");
    }
    assert_eq!(heap.claimed_bytes(), 0);
}

#[test]
fn a_block_of_no_bytes_is_a_block() {
    let heap = Heap::create(HeapConfig { limit_bytes: Some(4 << 20) }).expect("a heap");
    let (small, sparse) = (heap.alloc(0).expect("room"), heap.alloc_sparse(0).expect("room"));
    assert!(small.is_empty() && sparse.is_empty());
    assert_ne!(small.at().offset, sparse.at().offset);
    drop((small, sparse));
    heap.trim();
    assert_eq!(heap.claimed_bytes(), 0);
}
