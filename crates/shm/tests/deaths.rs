//! Members killed at any instruction: the survivors go on, and every block is accounted for.
//!
//! Members are this very test binary, re-entered. They allocate, check, give back, and hand blocks
//! to each other through a table of words in the heap, until they are killed.

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use manyhands_shm::{Block, BlockRef, Heap, HeapConfig, Party};
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_sys::socket::MessageSocket;

const MARK: &str = "MANYHANDS_TEST_MEMBER";
const N_MEMBERS: usize = 4;
const N_KILLS: usize = 300;
const N_CELLS: usize = 16;
/// The cell in which a member says what it found wrong.
const COMPLAINT: usize = N_CELLS;
/// Small blocks of several classes, and runs.
const LENGTHS: [u64; 8] = [8, 256, 900, 5_000, 40_000, 65_536, 65_537, 300_000];

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Blocks on their way from one member to another: offset, sender and length in one word.
struct Exchange {
    heap: Arc<Heap>,
    at: u64,
    /// What this member has offered: a taker that dies with the word in its hand loses it.
    offered: RefCell<HashSet<(u64, u64)>>,
}

impl Exchange {
    fn cell(&self, idx: usize) -> &AtomicU64 {
        let base = self.heap.address(self.at + idx as u64 * 8, 8);
        // SAFETY: the root's block holds this many words, used only as atomics.
        unsafe { base.cast().as_ref() }
    }

    fn offer(&self, idx: usize, block: Block) {
        let sender = u64::from(self.heap.me().number());
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
        unsafe { self.heap.take_over(at, sender) }.expect("room")
    }

    /// Gives back what this member has offered and nobody has taken over. It holds nothing else.
    fn take_back_lost(&self) {
        for (offset, len) in self.offered.take() {
            // SAFETY: left there by its holder, and not in use.
            drop(unsafe { self.heap.take_over(BlockRef { offset, len }, self.heap.me()) });
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
            let mut block = exchange.heap.alloc(len).expect("the limit is far away");
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
    if std::env::var_os(MARK).is_none() {
        return;
    }
    // SAFETY: nothing else in a member reads its standard input.
    let socket = unsafe { MessageSocket::from_stdin() }.expect("a member has a socket");
    let Some(hello) = socket.receive().expect("a first message") else { return };
    let words: Vec<u64> =
        hello.bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let fd = hello.fds.into_iter().next().expect("the heap comes along");
    // SAFETY: the heap of this test, and a number of the joining process alone.
    let heap = unsafe { Heap::attach(fd, Party::from_number(words[0] as u32)) }.expect("a heap");
    let exchange = Exchange { heap, at: words[1], offered: RefCell::default() };
    let (mut held, mut random) = (Vec::new(), Random(words[2]));
    // The root's death closes the socket: no member survives it.
    while socket.try_receive().is_err() {
        (0..50).for_each(|_| step(&exchange, &mut held, &mut random));
    }
    // Without destructors, as if killed.
    manyhands_sys::thread::exit_now(0);
}

struct Member {
    process: Child,
    party: Party,
    _socket: MessageSocket,
}

fn start_member(exchange: &Exchange, seed: u64) -> Member {
    let (ours, theirs) = MessageSocket::pair().expect("a socket pair");
    let party = exchange.heap.new_party().expect("a number");
    let process = Command::new(std::env::current_exe().expect("the test binary has a path"))
        .args(["member_entry", "--exact", "--nocapture", "--quiet"])
        .env(MARK, "1")
        .stdin(Stdio::from(theirs.into_fd()))
        .stdout(Stdio::null())
        .spawn()
        .expect("a member starts");
    let words = [u64::from(party.number()), exchange.at, seed | 1];
    let hello: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    ours.send(&hello, &[exchange.heap.fd().as_fd()]).expect("a member listens");
    Member { process, party, _socket: ours }
}

fn bury(exchange: &Exchange, mut member: Member) -> u64 {
    member.process.kill().expect("a child can be killed");
    member.process.wait().expect("a child can be waited for");
    // SAFETY: its process has ended, or was never started.
    let swept = unsafe { exchange.heap.bury(member.party) };
    swept.n_blocks + swept.n_runs
}

#[test]
fn members_killed_at_random_moments_lose_and_double_nothing() {
    let heap = Heap::create(HeapConfig { limit_bytes: Some(1 << 30) }).expect("a heap");
    let mut table = heap.alloc((N_CELLS as u64 + 1) * 8).expect("room");
    table.fill(0);
    let (at, offered) = (table.at().offset, RefCell::default());
    let exchange = Exchange { heap: Arc::clone(&heap), at, offered };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut held = Vec::new();
    let mut n_swept = 0;
    let mut members: Vec<_> =
        (0..N_MEMBERS).map(|_| start_member(&exchange, random.below(u64::MAX))).collect();
    let mut n_killed = 0;
    // Until the dead have held something: on a slow machine many die before they have begun.
    while n_killed < N_KILLS || n_swept <= N_KILLS as u64 {
        n_killed += 1;
        // The root works too, so that regions change hands while others allocate.
        let until = Instant::now() + Duration::from_micros(random.below(6_000));
        while Instant::now() < until {
            step(&exchange, &mut held, &mut random);
        }
        let victim = members.swap_remove(random.below(N_MEMBERS as u64) as usize);
        n_swept += bury(&exchange, victim);
        assert!(held.iter().all(is_whole), "a sweep gave a living member's block away");
        members.push(start_member(&exchange, random.below(u64::MAX)));
    }
    for member in members {
        bury(&exchange, member);
    }
    assert_eq!(exchange.cell(COMPLAINT).load(Ordering::Acquire), 0, "a member found wrong bytes");
    (0..N_CELLS).for_each(|idx| drop(exchange.take(idx)));
    held.clear();
    drop(table);
    exchange.take_back_lost();
    heap.trim();
    assert_eq!(heap.claimed_bytes(), 0, "a region is lost");
}
