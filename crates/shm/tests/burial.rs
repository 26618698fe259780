//! Who buries a dead party, and when.
//!
//! Alone in its program: the family is a fact about the whole process, and a fork copies only the
//! thread that calls it.

use std::sync::Arc;

use manyhands_shm::{BlockRef, Heap, Party, family};
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_testing::fork::{ForkedParty, fork_party};
use manyhands_testing::ledger::Ledger;

/// Forks as Python does; the child runs `child` and ends.
fn fork(child: impl FnOnce()) -> ForkedParty {
    let child = || {
        child();
        true
    };
    // SAFETY: the only test of this program, and it starts no thread before.
    unsafe { fork_party(child) }
}

/// Words that a child leaves behind.
fn words(heap: &Arc<Heap>) -> Ledger {
    Ledger::create(heap, 64)
}

/// The child leaves a block to whoever takes it over, and says where it is.
fn leave_a_reply(heap: &Arc<Heap>, word: &AtomicU64) {
    let reply = heap.alloc(100_000).expect("room");
    word.store(reply.leave_to_receiver().offset, Ordering::SeqCst);
}

fn reply_at(word: &AtomicU64) -> BlockRef {
    BlockRef { offset: word.load(Ordering::SeqCst), len: 100_000 }
}

#[test]
fn a_dead_party_is_buried_by_who_has_to_take_over_what_it_left() {
    let heap = family::heap().expect("a heap");
    what_is_left_to_the_launcher_outlasts_the_looks_of_others(&heap);
    anybody_buries_a_party_whose_launcher_is_dead(&heap);
    a_child_that_was_buried_before_it_began_is_in_no_family(&heap);
}

fn what_is_left_to_the_launcher_outlasts_the_looks_of_others(heap: &Arc<Heap>) {
    let words = words(heap);
    let worker = fork(|| {
        while words.word(0).load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        leave_a_reply(heap, words.word(1));
    });
    heap.reserve_burial(worker.party);
    words.word(0).store(1, Ordering::SeqCst);
    let dead = worker.ends_well();
    let worker = dead.party();
    assert!(!heap.is_alive(worker));
    // Whoever waits at a pipe does this now and then, in the launcher and in others.
    heap.bury_the_dead();
    fork(|| _ = heap.bury_the_dead()).ends_well().bury(heap);
    assert!(heap.is_listed(worker));
    // SAFETY: left there by its holder, and not in use.
    let reply = unsafe { heap.take_over(reply_at(words.word(1)), worker) }.expect("room");
    assert!(reply.is_some(), "the reply was swept before its launcher took it over");
    dead.bury(heap);
    assert!(!heap.is_listed(worker));
}

fn anybody_buries_a_party_whose_launcher_is_dead(heap: &Arc<Heap>) {
    let words = words(heap);
    let launcher = fork(|| {
        let worker = fork(|| {
            while words.word(0).load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            leave_a_reply(heap, words.word(1));
        });
        heap.reserve_burial(worker.party);
        words.word(2).store(worker.party.number().into(), Ordering::SeqCst);
        words.word(0).store(1, Ordering::SeqCst);
        let _ = worker.ends_well();
    });
    let launcher = launcher.ends_well().party();
    let worker = Party::from_number(words.word(2).load(Ordering::SeqCst) as u32);
    heap.bury_the_dead();
    assert!(!heap.is_listed(launcher) && !heap.is_listed(worker));
    // SAFETY: left there by its holder, and not in use.
    let reply = unsafe { heap.take_over(reply_at(words.word(1)), worker) }.expect("room");
    assert!(reply.is_none());
}

/// A child whose parent ends before the child has said who it is.
fn a_child_that_was_buried_before_it_began_is_in_no_family(heap: &Arc<Heap>) {
    let words = words(heap);
    let [is_told, child, me] = [0, 1, 2].map(|idx| words.word(idx));
    let wait_until_not_0 = |word: &AtomicU64| {
        while word.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    };
    let parent = fork(|| {
        family::before_fork();
        // SAFETY: as in `fork`.
        match unsafe { libc::fork() } {
            0 => {
                wait_until_not_0(is_told);
                family::after_fork_in_child();
                me.store(1 << 32 | u64::from(heap.me().number()), Ordering::SeqCst);
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) }
            }
            _ => {
                family::after_fork_in_parent();
                let party = family::last_forked().expect("the child was announced").1;
                child.store(party.number().into(), Ordering::SeqCst);
            }
        }
    });
    let parent = parent.ends_well().party();
    let child = Party::from_number(child.load(Ordering::SeqCst) as u32);
    assert!(heap.is_listed(child));
    heap.bury_the_dead();
    assert!(!heap.is_listed(parent) && !heap.is_listed(child));
    is_told.store(1, Ordering::SeqCst);
    wait_until_not_0(me);
    assert_eq!(me.load(Ordering::SeqCst) as u32, 0, "the child goes on as a party that is buried");

    let fd = heap.fd().try_clone_to_owned().expect("a descriptor");
    // SAFETY: the heap of this test, and a number of the joining process alone.
    let error = unsafe { Heap::attach(fd, child) }.expect_err("its place is gone");
    assert!(error.to_string().contains("has ended"), "{error}");
}
