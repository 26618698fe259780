//! The heap against a model: whatever its members do, blocks never overlap, keep their bytes, and
//! are all given back in the end.

use std::os::fd::AsFd;
use std::sync::Arc;

use manyhands_shm::{Block, Heap, HeapConfig};
use proptest::collection::vec;
use proptest::prelude::*;

const N_MEMBERS: usize = 3;
const LIMIT_BYTES: u64 = 64 << 20;

#[derive(Clone, Debug)]
enum Step {
    Alloc {
        member: usize,
        len: u64,
    },
    AllocSparse {
        member: usize,
        len: u64,
    },
    Free {
        nth: usize,
    },
    HandOver {
        nth: usize,
        to: usize,
    },
    GiveTo {
        nth: usize,
        to: usize,
    },
    /// A member (never the root, who sweeps) dies and another takes its place.
    Die {
        member: usize,
    },
    Trim,
}

/// A block, who holds it, and what it was filled with.
struct Held {
    block: Block,
    member: usize,
    tag: u8,
}

struct Family {
    members: Vec<Arc<Heap>>,
    held: Vec<Held>,
    next_tag: u8,
}

impl Family {
    fn new() -> Self {
        let root = Heap::create(HeapConfig { limit_bytes: Some(LIMIT_BYTES) }).expect("a heap");
        let mut members = vec![root];
        members.extend((1..N_MEMBERS).map(|_| joined(&members[0])).collect::<Vec<_>>());
        Self { members, held: Vec::new(), next_tag: 1 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Alloc { member, len } => {
                let block = self.members[member].alloc(len).expect("the limit is far away");
                self.hold(block, member);
            }
            Step::AllocSparse { member, len } => {
                let block = self.members[member].alloc_sparse(len).expect("the limit is far away");
                assert!(block.iter().all(|byte| *byte == 0), "untouched memory reads as zeros");
                self.hold(block, member);
            }
            Step::Free { nth } => {
                if let Some(held) = self.take(nth) {
                    check(&held);
                }
            }
            Step::HandOver { nth, to } => {
                self.move_to(nth, to, |block, _| block.leave_to_receiver())
            }
            Step::GiveTo { nth, to } => {
                self.move_to(nth, to, |block, receiver| block.give_to(receiver.me()));
            }
            Step::Die { member } => self.die(member),
            Step::Trim => self.members[0].trim(),
        }
        self.check();
    }

    fn hold(&mut self, mut block: Block, member: usize) {
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1).max(1);
        block.fill(tag);
        self.held.push(Held { block, member, tag });
    }

    fn take(&mut self, nth: usize) -> Option<Held> {
        (!self.held.is_empty()).then(|| self.held.swap_remove(nth % self.held.len()))
    }

    fn move_to(
        &mut self,
        nth: usize,
        to: usize,
        hand: impl FnOnce(Block, &Heap) -> manyhands_shm::BlockRef,
    ) {
        let Some(Held { block, member, tag }) = self.take(nth) else { return };
        let receiver = Arc::clone(&self.members[to]);
        let sender = self.members[member].me();
        let at = hand(block, &receiver);
        let from = |party| {
            // SAFETY: left there by its holder, and not in use.
            unsafe { receiver.take_over(at, party) }.expect("room")
        };
        let block =
            from(sender).or_else(|| from(receiver.me())).expect("a block handed over is there");
        self.held.push(Held { block, member: to, tag });
    }

    fn die(&mut self, member: usize) {
        let (dead, living) = self.held.drain(..).partition(|held| held.member == member);
        self.held = living;
        let n_dead = Vec::<Held>::len(&dead) as u64;
        // What dies with a process runs no destructor.
        for held in dead {
            held.block.leave_to_receiver();
        }
        let root = &self.members[0];
        // SAFETY: its process has ended, or was never started.
        let swept = unsafe { root.bury(self.members[member].me()) };
        assert_eq!(swept.n_blocks + swept.n_runs, n_dead, "each block of the dead, once");
        self.members[member] = joined(root);
    }

    fn check(&self) {
        self.held.iter().for_each(check);
        let mut ranges: Vec<_> = self
            .held
            .iter()
            .map(|held| (held.block.at().offset, held.block.at().offset + held.block.at().len))
            .collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "blocks overlap: {pair:?}");
            assert!(pair[0].0 < pair[1].0, "one block was given out twice: {pair:?}");
        }
    }

    fn end(mut self) {
        self.held.clear();
        for member in 1..N_MEMBERS {
            // SAFETY: its process has ended, or was never started.
            let swept = unsafe { self.members[0].bury(self.members[member].me()) };
            assert_eq!(swept.n_blocks + swept.n_runs, 0, "everything was given back before");
        }
        let root = &self.members[0];
        root.trim();
        assert_eq!(root.claimed_bytes(), 0, "a region is lost");
        let resident = root.resident_bytes().expect("the file can be asked");
        assert!(resident <= 256 << 10, "{resident} bytes stay although nothing is held");
    }
}

fn check(held: &Held) {
    assert!(held.block.iter().all(|byte| *byte == held.tag), "a block's bytes have changed");
}

fn joined(root: &Arc<Heap>) -> Arc<Heap> {
    let fd = root.fd().as_fd().try_clone_to_owned().expect("a descriptor");
    // SAFETY: the heap of this test, and a number of the joining process alone.
    unsafe { Heap::attach(fd, root.new_party().expect("a number")) }
        .expect("the heap can be joined")
}

fn len() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..=2_000u64,
        3 => 2_000..=66_000u64,
        1 => 66_000..=1_000_000u64,
        1 => Just(65_536u64),
        1 => Just(262_144u64),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..N_MEMBERS;
    prop_oneof![
        8 => (member.clone(), len()).prop_map(|(member, len)| Step::Alloc { member, len }),
        1 => (member.clone(), 1..600_000u64)
            .prop_map(|(member, len)| Step::AllocSparse { member, len }),
        6 => any::<usize>().prop_map(|nth| Step::Free { nth }),
        3 => (any::<usize>(), member.clone()).prop_map(|(nth, to)| Step::HandOver { nth, to }),
        2 => (any::<usize>(), member.clone()).prop_map(|(nth, to)| Step::GiveTo { nth, to }),
        1 => (1..N_MEMBERS).prop_map(|member| Step::Die { member }),
        1 => Just(Step::Trim),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn blocks_keep_their_bytes_and_all_come_back(steps in vec(step(), 1..120)) {
        let mut family = Family::new();
        steps.into_iter().for_each(|step| family.step(step));
        family.end();
    }
}

/// Allocates from `heap` until a block lies at `offset`; the others are given back.
fn alloc_at(heap: &Arc<Heap>, len: u64, offset: u64) -> Block {
    let mut others = Vec::new();
    loop {
        let block = heap.alloc(len).expect("room");
        if block.at().offset == offset {
            return block;
        }
        others.push(block);
        assert!(others.len() < 10_000, "the place was given back and must come again");
    }
}

#[test]
fn a_lender_that_drops_late_does_not_free_what_lies_there_by_then() {
    for len in [100, 60_000, 300_000] {
        let root = Heap::create(HeapConfig { limit_bytes: Some(LIMIT_BYTES) }).expect("a heap");
        let worker = joined(&root);
        let lent = root.alloc(len).expect("room");
        let at = lent.at();
        // SAFETY: left there by its holder, and not in use.
        let borrowed = unsafe { worker.take_over(at, root.me()) }.expect("room").expect("lent");
        drop(borrowed);
        let fresh = alloc_at(&root, len, at.offset);
        drop(lent);
        // SAFETY: left there by its holder, and not in use.
        let other = unsafe { worker.take_over(fresh.leave_to_receiver(), root.me()) };
        let other = other.expect("room");
        assert!(other.is_some(), "the later block of {len} bytes was given back by the former");
    }
}

#[test]
fn a_lender_that_drops_late_is_harmless_also_after_the_region_was_released() {
    for (before, after) in [(60_000, 60_000), (100, 300_000), (300_000, 100)] {
        let root = Heap::create(HeapConfig { limit_bytes: Some(LIMIT_BYTES) }).expect("a heap");
        let worker = joined(&root);
        let lent = root.alloc(before).expect("room");
        // SAFETY: left there by its holder, and not in use.
        drop(unsafe { worker.take_over(lent.at(), root.me()) }.expect("room").expect("lent"));
        root.trim();
        assert_eq!(root.claimed_bytes(), 0);
        let fresh: Vec<_> = (0..4).map(|_| root.alloc(after).expect("room")).collect();
        drop(lent);
        for block in fresh {
            // SAFETY: left there by its holder, and not in use.
            let other = unsafe { worker.take_over(block.leave_to_receiver(), root.me()) };
            assert!(other.expect("room").is_some());
        }
    }
}

#[test]
fn an_offset_that_is_no_block_is_refused() {
    let root = Heap::create(HeapConfig { limit_bytes: Some(LIMIT_BYTES) }).expect("a heap");
    let worker = joined(&root);
    let small = root.alloc(1_000).expect("room").leave_to_receiver();
    let large = root.alloc(300_000).expect("room").leave_to_receiver();
    for at in [small, large] {
        for (offset, len) in [
            (at.offset + 8, at.len),
            (at.offset - 8, at.len),
            (at.offset, u64::MAX),
            (at.offset, at.len + (1 << 20)),
            (0, 8),
            (u64::MAX, 8),
        ] {
            let wrong = manyhands_shm::BlockRef { offset, len };
            // SAFETY: refused, as there is no such block.
            let taken = unsafe { worker.take_over(wrong, root.me()) }.expect("room");
            assert!(taken.is_none(), "{wrong:?} is no block");
        }
        // SAFETY: left there by its holder, and not in use.
        let taken = unsafe { worker.take_over(at, root.me()) }.expect("room");
        assert!(taken.is_some(), "the block itself is unharmed");
    }
}
