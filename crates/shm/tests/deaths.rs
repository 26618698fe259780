//! Members killed at any instruction: the survivors go on, and every block is accounted for.
//!
//! Members are this very test binary, re-entered. They allocate, check, give back, and hand blocks
//! to each other through a table of words in the heap, until they are killed.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manyhands_shm::{Block, BlockRef, Heap, HeapConfig, Party};
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_testing::ledger::Ledger;
use manyhands_testing::member::{Member, Started, start};
use manyhands_testing::random::Random;

const N_MEMBERS: usize = 4;
const N_KILLS: usize = 300;
const N_CELLS: usize = 16;
/// The cell in which a member says what it found wrong.
const COMPLAINT: usize = N_CELLS;
/// Small blocks of several classes, and runs.
const LENGTHS: [u64; 8] = [8, 256, 900, 5_000, 40_000, 65_536, 65_537, 300_000];

/// Blocks on their way from one member to another: offset, sender and length in one word.
struct Exchange {
    cells: Ledger,
    /// What this member has offered: a taker that dies with the word in its hand loses it.
    offered: RefCell<HashSet<(u64, u64)>>,
}

impl Exchange {
    fn heap(&self) -> &Arc<Heap> {
        self.cells.heap()
    }

    fn cell(&self, idx: usize) -> &AtomicU64 {
        self.cells.word(idx as u64)
    }

    fn offer(&self, idx: usize, block: Block) {
        let sender = u64::from(self.heap().me().number());
        let at = block.at();
        let kind = LENGTHS.iter().position(|len| *len == at.len).expect("a known length") as u64;
        let word = at.offset >> 6 << 28 | sender << 4 | kind | 8;
        // Until somebody takes it over the block stays the sender's: a sweep finds it.
        block.leave_to_receiver();
        self.offered.borrow_mut().insert((at.offset, at.len));
        let before = self.cell(idx).swap(word, Ordering::AcqRel);
        drop(self.take_over(before));
    }

    fn take(&self, idx: usize) -> Option<Block> {
        self.take_over(self.cell(idx).swap(0, Ordering::AcqRel))
    }

    /// `None`: there was nothing, or its sender died and was swept.
    fn take_over(&self, word: u64) -> Option<Block> {
        if word == 0 {
            return None;
        }
        let len = LENGTHS[(word & 7) as usize];
        let at = BlockRef { offset: word >> 28 << 6, len };
        let sender = Party::from_number((word >> 4) as u32 & 0xff_ffff);
        // SAFETY: left there by its holder, and not in use.
        unsafe { self.heap().take_over(at, sender) }.expect("room")
    }

    /// Gives back what this member has offered and nobody has taken over. It holds nothing else.
    fn take_back_lost(&self) {
        for (offset, len) in self.offered.take() {
            // SAFETY: left there by its holder, and not in use.
            drop(unsafe { self.heap().take_over(BlockRef { offset, len }, self.heap().me()) });
        }
    }

    fn complain(&self) {
        self.cell(COMPLAINT).store(1, Ordering::Release);
    }
}

/// Every block is full of its own offset: whoever writes into a foreign one is seen.
fn fill(block: &mut Block) {
    let tag = (block.at().offset >> 8) as u8 | 1;
    block.fill(tag);
}

fn is_whole(block: &Block) -> bool {
    let tag = (block.at().offset >> 8) as u8 | 1;
    block.iter().all(|byte| *byte == tag)
}

/// One random step of a member, or of the root.
fn step(exchange: &Exchange, held: &mut Vec<Block>, random: &mut Random) {
    let cell = random.below(N_CELLS as u64) as usize;
    match random.below(10) {
        0..=3 if held.len() < 40 => {
            let len = LENGTHS[random.below(LENGTHS.len() as u64) as usize];
            let mut block = exchange.heap().alloc(len).expect("the limit is far away");
            fill(&mut block);
            held.push(block);
        }
        4..=6 if !held.is_empty() => {
            let block = held.swap_remove(random.below(held.len() as u64) as usize);
            if !is_whole(&block) {
                exchange.complain();
            }
        }
        7 if !held.is_empty() => {
            let block = held.swap_remove(random.below(held.len() as u64) as usize);
            exchange.offer(cell, block);
        }
        _ => {
            if let Some(block) = exchange.take(cell) {
                if !is_whole(&block) {
                    exchange.complain();
                }
                held.push(block);
            }
        }
    }
}

#[test]
fn member_entry() {
    // SAFETY: the heap of this test, and a number of the joining process alone.
    let joined = Member::of_this_process(|fd, party| unsafe { Heap::attach(fd, party) });
    let Some(joined) = joined.expect("a heap") else { return };
    let [at, len, seed] = joined.words;
    // SAFETY: what the root has sent, which outlives its members.
    let cells = unsafe { Ledger::open(&joined.heap, [at, len]) };
    let exchange = Exchange { cells, offered: RefCell::default() };
    let (mut held, mut random) = (Vec::new(), Random::new(seed));
    joined.work(|| step(&exchange, &mut held, &mut random));
}

fn start_member(exchange: &Exchange, seed: u64) -> Started {
    let [at, len] = exchange.cells.to_words();
    start(exchange.heap(), &[at, len, seed], b"").expect("a member starts")
}

#[test]
fn members_killed_at_random_moments_lose_and_double_nothing() {
    let heap = Heap::create(HeapConfig { limit_bytes: Some(1 << 30) }).expect("a heap");
    let cells = Ledger::create(&heap, (N_CELLS as u64 + 1) * 8);
    let exchange = Exchange { cells, offered: RefCell::default() };
    let mut random = Random::new(Random::SEED);
    let mut held = Vec::new();
    let mut n_swept = 0;
    let mut members: Vec<_> =
        (0..N_MEMBERS).map(|_| start_member(&exchange, random.next_u64())).collect();
    let mut n_killed = 0;
    // Until the dead have held something: on a slow machine many die before they have begun.
    while n_killed < N_KILLS || n_swept <= N_KILLS as u64 {
        n_killed += 1;
        // The root works too, so that regions change hands while others allocate.
        let until = Instant::now() + Duration::from_micros(random.below(6_000));
        while Instant::now() < until {
            step(&exchange, &mut held, &mut random);
        }
        n_swept += members.swap_remove(random.index(N_MEMBERS)).kill().bury(&heap);
        assert!(held.iter().all(is_whole), "a sweep gave a living member's block away");
        members.push(start_member(&exchange, random.next_u64()));
    }
    members.into_iter().for_each(|member| _ = member.kill().bury(&heap));
    assert_eq!(exchange.cell(COMPLAINT).load(Ordering::Acquire), 0, "a member found wrong bytes");
    (0..N_CELLS).for_each(|idx| drop(exchange.take(idx)));
    held.clear();
    exchange.take_back_lost();
    drop(exchange);
    heap.trim();
    assert_eq!(heap.claimed_bytes(), 0, "a region is lost");
}
