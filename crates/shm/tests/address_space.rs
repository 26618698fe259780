//! Processes that may map no more, or make no large files: what they can reach goes on working, and
//! what they cannot is an error of who asked, until the limit is raised again.
//!
//! Limits concern a whole process, so each test runs in a copy of this program.

use std::process::Command;
use std::sync::Arc;

use manyhands_shm::{Block, BlockRef, Heap, HeapConfig, OutOfMemory, Party};
use manyhands_sys::windows::WINDOW;

const MARK: &str = "MANYHANDS_TEST_ADDRESS_SPACE";
const MIB: u64 = 1 << 20;

/// Runs `body` in a copy of this program that runs the test `name` only.
fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let this = std::env::current_exe().expect("the test binary has a path");
    let output = Command::new(this)
        .args([name, "--exact", "--nocapture"])
        .env(MARK, "1")
        .output()
        .expect("the copy starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {text}", output.status);
}

fn limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: a whole limit, which is only read.
    let done = unsafe { libc::setrlimit(resource, &raw const limit) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

fn soft_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place for a limit.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    limit.rlim_cur
}

fn mapped_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("the system tells");
    let pages: u64 = text.split(' ').next().expect("a number").parse().expect("a number");
    pages * 4096
}

/// From now on this process may map `more` bytes.
fn allow(more: u64) {
    limit(libc::RLIMIT_AS, mapped_bytes() + more, libc::RLIM_INFINITY);
}

/// From now on it may map nothing of the size of a window.
fn allow_no_window() {
    allow(WINDOW / 2);
}

fn allow_everything() {
    limit(libc::RLIMIT_AS, libc::RLIM_INFINITY, libc::RLIM_INFINITY);
}

fn heap() -> Arc<Heap> {
    Heap::create(HeapConfig::default()).expect("a heap")
}

/// A second member of the family, in this process, with a mapping of its own.
fn joined(root: &Arc<Heap>) -> Arc<Heap> {
    let fd = root.fd().try_clone_to_owned().expect("a descriptor");
    let me = root.new_party().expect("a number");
    // SAFETY: the root's heap, and a number that nobody else has.
    unsafe { Heap::attach(fd, me) }.expect("the heap can be joined")
}

/// Takes over what `from` has left for whoever asks first.
fn take(heap: &Arc<Heap>, at: BlockRef, from: Party) -> Result<Option<Block>, OutOfMemory> {
    // SAFETY: left there by its holder, and not in use.
    unsafe { heap.take_over(at, from) }
}

fn filled(heap: &Arc<Heap>, len: u64) -> Block {
    let mut block = heap.alloc(len).expect("room");
    block.fill(7);
    block
}

fn is_about_address_space(error: &OutOfMemory) -> bool {
    error.to_string().contains("its address space is limited to")
}

#[test]
fn a_heap_takes_little_address_space_before_it_is_used() {
    alone("a_heap_takes_little_address_space_before_it_is_used", || {
        let before = mapped_bytes();
        let heap = heap();
        drop(filled(&heap, 100));
        let taken = mapped_bytes() - before;
        assert!(taken <= 4 * WINDOW, "{taken} bytes");
        drop(filled(&heap, 100 * MIB));
        assert!(mapped_bytes() - before >= 100 * MIB);
        drop(heap);
        let left = mapped_bytes() - before;
        assert!(left <= 2 * WINDOW, "{left} bytes are left");
    });
}

#[test]
fn a_heap_begins_and_works_under_a_limit() {
    alone("a_heap_begins_and_works_under_a_limit", || {
        allow(256 * MIB);
        let root = heap();
        let member = joined(&root);
        let block = filled(&root, 10 * MIB);
        let taken = take(&member, block.leave_to_receiver(), root.me()).expect("room");
        assert!(taken.expect("it was left").iter().all(|byte| *byte == 7));
        let error = root.alloc_sparse(1 << 40).expect_err("there is no such hole");
        assert!(is_about_address_space(&error), "{error}");
        assert_eq!(error.wanted(), 1 << 40);
    });
}

#[test]
fn what_fits_a_limit_that_comes_later_works_and_what_does_not_is_refused() {
    alone("what_fits_a_limit_that_comes_later_works_and_what_does_not_is_refused", || {
        let heap = heap();
        let before = filled(&heap, 20 * MIB);
        allow(64 * MIB);
        let kept: Vec<_> = (0..4).map(|_| filled(&heap, 8 * MIB)).collect();
        let error = heap.alloc(100 * MIB).expect_err("more than may be mapped");
        assert!(is_about_address_space(&error), "{error}");
        let mut more = Vec::new();
        let error = loop {
            match heap.alloc(MIB) {
                Ok(block) => more.push(block),
                Err(error) => break error,
            }
        };
        assert!(is_about_address_space(&error), "{error}");
        assert!(more.len() >= 16, "only {} MiB of the rest could be had", more.len());
        // What is given back makes room, but for what windows are larger than blocks.
        drop(kept);
        let again: Vec<_> = (0..2).map(|_| filled(&heap, 8 * MIB)).collect();
        assert!(before.iter().all(|byte| *byte == 7));
        drop((again, more, before));
        heap.trim();
        assert_eq!(heap.claimed_bytes(), 0);
    });
}

#[test]
fn a_member_that_may_map_little_sees_any_amount_of_large_blocks_one_after_the_other() {
    alone(
        "a_member_that_may_map_little_sees_any_amount_of_large_blocks_one_after_the_other",
        || {
            let root = heap();
            let member = joined(&root);
            let all: Vec<_> = (0..40).map(|_| filled(&root, 8 * MIB).leave_to_receiver()).collect();
            allow(50 * MIB);
            let mut kept = Vec::new();
            for at in all {
                let block = take(&member, at, root.me()).expect("room").expect("it is the root's");
                assert!(block.iter().all(|byte| *byte == 7));
                // Some stay in use meanwhile.
                if kept.len() < 3 {
                    kept.push(block);
                }
            }
            assert!(kept.iter().all(|block| block.iter().all(|byte| *byte == 7)));
            drop(kept);
            allow_everything();
            root.trim();
            assert_eq!(root.claimed_bytes(), 0);
        },
    );
}

#[test]
fn a_block_that_its_receiver_cannot_map_stays_its_senders() {
    alone("a_block_that_its_receiver_cannot_map_stays_its_senders", || {
        for len in [1_000, 8 * MIB] {
            let root = heap();
            let member = joined(&root);
            let spacer = root.alloc(3 * WINDOW).expect("room");
            let at = filled(&root, len).leave_to_receiver();
            allow_no_window();
            let error = take(&member, at, root.me()).expect_err("it cannot be mapped");
            assert!(is_about_address_space(&error), "{error}");
            allow_everything();
            let block = take(&member, at, root.me()).expect("room").expect("it is the root's");
            assert!(block.iter().all(|byte| *byte == 7));
            drop((block, spacer));
        }
    });
}

#[test]
fn a_large_block_is_given_back_by_who_cannot_map_it() {
    alone("a_large_block_is_given_back_by_who_cannot_map_it", || {
        let root = heap();
        let member = joined(&root);
        let block = filled(&root, 8 * MIB);
        let ticket = block.ticket();
        let at = block.give_to(Party::FAMILY);
        allow_no_window();
        assert!(take(&member, at, Party::FAMILY).is_err());
        // SAFETY: given to the family, and nobody knows of it.
        unsafe { member.give_back_exactly(ticket, Party::FAMILY) };
        allow_everything();
        root.trim();
        assert_eq!(root.claimed_bytes(), 0);
    });
}

#[test]
fn a_burial_that_cannot_be_finished_is_finished_later() {
    alone("a_burial_that_cannot_be_finished_is_finished_later", || {
        let root = heap();
        drop(filled(&root, 100));
        let dead = joined(&root);
        let spacer = dead.alloc(3 * WINDOW).expect("room");
        std::mem::forget((spacer, filled(&dead, 1_000), filled(&dead, 300_000)));
        allow_no_window();
        // SAFETY: it does nothing any more.
        let swept = unsafe { root.bury(dead.me()) };
        assert!(swept.n_unreached > 0, "{swept:?}");
        assert_eq!(swept.n_runs, 2, "of a large block only its line is needed");
        assert!(root.is_listed(dead.me()) && !root.is_alive(dead.me()));
        drop(filled(&root, 100));
        allow_everything();
        // SAFETY: of a process that was never started.
        unsafe { root.bury(root.new_party().expect("a number")) };
        assert!(!root.is_listed(dead.me()), "the next burial has not finished it");
        root.trim();
        assert_eq!(root.claimed_bytes(), 0);
    });
}

#[test]
fn a_place_that_the_program_has_taken_is_gone_round() {
    alone("a_place_that_the_program_has_taken_is_gone_round", || {
        let root = heap();
        let base = root.address(0, 0).as_ptr();
        let first = filled(&root, MIB);
        let next = first.at().offset.next_multiple_of(WINDOW) + WINDOW;
        let place = base.wrapping_add(next as usize).cast();
        // SAFETY: replaces nothing.
        let strange = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            libc::mmap(place, 4096, libc::PROT_READ, flags, -1, 0)
        };
        assert_eq!(strange, place, "the place was free");
        let blocks: Vec<_> = (0..20).map(|_| filled(&root, MIB)).collect();
        let is_there = |block: &Block| {
            block.at().offset < next + WINDOW && block.at().offset + block.at().len > next
        };
        assert!(!blocks.iter().any(is_there));
        // Another member may well use it; here that is an error of who asks.
        let member = joined(&root);
        let all: Vec<_> = (0..20).map(|_| filled(&member, MIB)).collect();
        let there = all.into_iter().find(is_there).expect("it is free for the member");
        let error = take(&root, there.leave_to_receiver(), member.me()).expect_err("occupied");
        assert!(error.to_string().contains("mapped something else"), "{error}");
    });
}

#[test]
fn a_soft_limit_on_files_is_in_nobodys_way_and_stays() {
    alone("a_soft_limit_on_files_is_in_nobodys_way_and_stays", || {
        limit(libc::RLIMIT_FSIZE, MIB, libc::RLIM_INFINITY);
        let root = heap();
        assert_eq!(soft_limit(libc::RLIMIT_FSIZE), MIB);
        let member = joined(&root);
        drop((filled(&root, 50 * MIB), filled(&member, 100)));
        limit(libc::RLIMIT_FSIZE, 0, libc::RLIM_INFINITY);
        drop((filled(&root, 100 * MIB), filled(&member, MIB)));
        root.trim();
    });
}

#[test]
fn a_hard_limit_on_files_is_the_heaps_limit_or_is_named() {
    alone("a_hard_limit_on_files_is_the_heaps_limit_or_is_named", || {
        limit(libc::RLIMIT_FSIZE, 100 * MIB, 100 * MIB);
        let root = heap();
        drop(filled(&root, 50 * MIB));
        let error = root.alloc(200 * MIB).expect_err("more than the heap can be");
        assert!(error.to_string().contains("the heap is limited to"), "{error}");
        drop(root);
        limit(libc::RLIMIT_FSIZE, MIB, MIB);
        let error = Heap::create(HeapConfig::default()).expect_err("no room for a heap");
        assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
    });
}
