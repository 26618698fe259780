//! A forked copy of a process has copies of its blocks, and no right to give them back.
//!
//! Alone in its program: being a copy is a fact about the whole process.

use std::os::fd::AsFd;

use manyhands_shm::{Heap, HeapConfig, forget_after_fork};

#[test]
fn a_forked_copy_of_a_process_gives_nothing_back() {
    let heap = Heap::create(HeapConfig { limit_bytes: Some(8 << 20) }).expect("a heap");
    let (small, large) = (heap.alloc(100).expect("room"), heap.alloc(1 << 20).expect("room"));
    let refs = [small.at(), large.at()];
    // What the child of a fork is told first.
    forget_after_fork();
    drop((small, large));
    let fd = heap.fd().as_fd().try_clone_to_owned().expect("a descriptor");
    let member = Heap::attach(fd, heap.new_party()).expect("the heap can be joined");
    for at in refs {
        let still_held = member.take_over(at, heap.me());
        assert!(still_held.is_some(), "the copy has given its parent's block back");
    }
}
