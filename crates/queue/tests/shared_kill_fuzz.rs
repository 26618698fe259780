//! Processes killed at any instruction of a shared queue: the others go on, every message that was
//! put is got once (but for the one its getter held), and the heap has all its memory back.
//!
//! The members are this very test binary, re-entered. Each puts numbered messages and gets whatever
//! comes; what was put and what was got stands in a ledger in the heap. `MANYHANDS_KILLS` sets how
//! many are killed.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manyhands_queue::shared::{NotPut, SharedQueue};
use manyhands_shm::message::{Body, Message, Taken};
use manyhands_shm::{Carried, Handle, Heap, Party, family};
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_testing::dead::Dead;
use manyhands_testing::ledger::Ledger;
use manyhands_testing::member::{Member as Joined, Started, start};
use manyhands_testing::random::Random;
use manyhands_testing::{n_kills, spin_for};

/// Messages that one member puts in its life.
const N_NUMBERS: u64 = 4_096;
/// Inline records, records that fill segments, blocks, runs.
const LENGTHS: [usize; 8] = [24, 24, 40, 300, 2_000, 4_000, 5_000, 270_000];

/// For each member a row: how many puts it has begun, how many are done, how often each was got.
struct Notes(Ledger);

const ROW_LEN: u64 = 16 + N_NUMBERS;
/// In front of the rows: whether a member found something wrong.
const ROWS_AT: u64 = 64;

impl Notes {
    fn complaint(&self) -> &AtomicU64 {
        self.0.word(0)
    }

    fn begun(&self, row: u64) -> &AtomicU64 {
        self.0.word((ROWS_AT + row * ROW_LEN) / 8)
    }

    fn done(&self, row: u64) -> &AtomicU64 {
        self.0.word((ROWS_AT + row * ROW_LEN) / 8 + 1)
    }

    fn n_got(&self, row: u64, number: u64) -> &AtomicU8 {
        self.0.byte(ROWS_AT + row * ROW_LEN + 16 + number)
    }

    /// The same ledger, for as long as this one lives.
    fn again(&self) -> Self {
        // SAFETY: the words of this ledger, in its heap.
        Self(unsafe { Ledger::open(self.0.heap(), self.0.to_words()) })
    }
}

struct Member {
    notes: Notes,
    queue: SharedQueue,
    /// What travels with some of the messages.
    companion: SharedQueue,
    row: u64,
    n_put: u64,
    random: Random,
    /// The last number that was got of each row.
    last: Vec<u64>,
    n_at_once: usize,
}

impl Member {
    fn bytes(&mut self, number: u64) -> Vec<u8> {
        let len = LENGTHS[self.random.below(LENGTHS.len() as u64) as usize];
        // Runs are slow to make: a few will do.
        let len = if len > 100_000 && self.random.below(8) > 0 { 32 } else { len };
        let mut bytes = vec![number as u8; len];
        bytes[..8].copy_from_slice(&self.row.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    fn message<'a>(&mut self, bytes: &'a [u8]) -> Message<'a> {
        let carried = match self.random.below(10) {
            0 => Carried::collect(|| self.companion.object().travel()).1,
            _ => Carried::default(),
        };
        Message { body: Body::Inline(bytes), carried }
    }

    fn put_one(&mut self) {
        let number = self.n_put;
        let bytes = self.bytes(number);
        let message = self.message(&bytes);
        self.notes.begun(self.row).store(number + 1, Ordering::SeqCst);
        match self.queue.put_for(message, Duration::from_micros(self.random.below(300))) {
            Ok(()) => {
                self.n_put += 1;
                self.notes.done(self.row).store(self.n_put, Ordering::SeqCst);
            }
            Err(NotPut::Full(_)) => {}
            Err(_) => self.complain(1),
        }
    }

    fn put_several(&mut self) {
        let first = self.n_put;
        let all: Vec<_> = (first..first + 5).map(|number| self.bytes(number)).collect();
        let mut messages: VecDeque<_> = all.iter().map(|bytes| self.message(bytes)).collect();
        self.notes.begun(self.row).store(first + 5, Ordering::SeqCst);
        if self.queue.try_put_many(&mut messages).is_err() {
            self.complain(2);
        }
        self.n_put += 5 - messages.len() as u64;
        self.notes.done(self.row).store(self.n_put, Ordering::SeqCst);
    }

    fn get(&mut self) {
        let timeout = Duration::from_micros(self.random.below(300));
        let deadline = manyhands_queue::Deadline::after(timeout);
        let n_max = 1 + self.random.below(self.n_at_once as u64) as usize;
        let Ok(taken) = self.queue.get_many(n_max, Some(deadline)) else { return };
        for taken in taken {
            self.note(&taken);
        }
    }

    fn note(&mut self, taken: &Taken) {
        let (head, filling) = taken.bytes.split_at(16);
        let row = u64::from_le_bytes(head[..8].try_into().expect("eight"));
        let number = u64::from_le_bytes(head[8..].try_into().expect("eight"));
        if filling.iter().any(|byte| *byte != number as u8) {
            return self.complain(3);
        }
        if self.last.len() <= row as usize {
            self.last.resize(row as usize + 1, 0);
        }
        // Plus one: 0 is none yet.
        if self.last[row as usize] > number {
            self.complain(4);
        }
        self.last[row as usize] = number + 1;
        self.notes.n_got(row, number).fetch_add(1, Ordering::SeqCst);
    }

    fn step(&mut self) {
        match self.random.below(9) {
            0..=2 if self.n_put + 5 < N_NUMBERS => self.put_one(),
            3 if self.n_put + 5 < N_NUMBERS => self.put_several(),
            _ => self.get(),
        }
    }

    fn complain(&self, what: u64) {
        self.notes.complaint().store(what, Ordering::SeqCst);
    }
}

#[test]
fn member_entry() {
    // SAFETY: the heap of this test, and a number of the joining process alone.
    let joined = Joined::of_this_process(|fd, party| unsafe { family::join(fd, party) });
    let Some(joined) = joined.expect("a heap") else { return };
    let [at, len, row, seed, n_at_once] = joined.words;
    // SAFETY: what the root has sent, which outlives its members.
    let notes = Notes(unsafe { Ledger::open(&joined.heap, [at, len]) });
    let open = |bytes| SharedQueue::open(Handle::from_bytes(bytes).expect("a handle"));
    let mut member = Member {
        notes,
        queue: open(&joined.bytes[..24]).expect("the queue"),
        companion: open(&joined.bytes[24..]).expect("the companion"),
        row,
        n_put: 0,
        random: Random::new(seed),
        last: Vec::new(),
        n_at_once: n_at_once as usize,
    };
    joined.work(|| member.step());
}

struct Root {
    notes: Notes,
    queue: SharedQueue,
    companion: SharedQueue,
    n_rows: u64,
    n_at_once: u64,
    random: Random,
}

impl Root {
    fn start(&mut self) -> Started {
        let ledger = &self.notes.0;
        let [at, len] = ledger.to_words();
        let seed = self.random.next_u64();
        let words = [at, len, self.n_rows, seed, self.n_at_once];
        let handles = [self.queue.handle(), self.companion.handle()].map(|it| it.to_bytes());
        self.n_rows += 1;
        start(ledger.heap(), &words, &handles.concat()).expect("a member starts")
    }
}

/// All fuzzes of this program use the family's heap, and each looks at what is left in it.
static ALONE: Mutex<()> = Mutex::new(());

/// A block that is alone in its region keeps so many bytes from being given back.
const REGION: u64 = 256 << 10;

/// What is left once nobody uses the queues any more follows from which of them have not ended: one
/// that was being opened or dropped by somebody who was killed, or named by a message on its way,
/// stays to the end of the family (`crates/shm/README.md`). It is then an object and a segment.
fn check_what_is_left(heap: &Arc<Heap>, queues: [Handle; 2]) {
    heap.trim();
    let n_living =
        queues.iter().filter(|handle| SharedQueue::open(**handle).is_ok()).count() as u64;
    let n_blocks = heap.count_held_by(Party::FAMILY);
    assert_eq!(n_blocks, 2 * n_living, "{n_living} queues have not ended");
    // And the pages on which this process writes down what it holds.
    let left = heap.claimed_bytes();
    assert!(left <= (1 + n_blocks) * REGION, "{left} bytes are left, {n_living} queues not ended");
}

fn fuzz(maxsize: u64, n_at_once: u64, n_members: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let n_kills = n_kills(120);
    let heap = family::heap().expect("a heap");
    let ledger_len = ROWS_AT + (n_kills + n_members as u64) * ROW_LEN;
    let notes = Notes(Ledger::create(&heap, ledger_len.max(1 << 20)));
    let queue = SharedQueue::create(&heap, maxsize).expect("room");
    let companion = SharedQueue::create(&heap, 0).expect("room");
    let random = Random::new(Random::SEED);
    let mut root = Root { notes, queue, companion, n_rows: 0, n_at_once, random };
    let mut members: Vec<_> = (0..n_members).map(|_| root.start()).collect();
    let mut unburied: Vec<Dead> = Vec::new();
    for n_killed in 0..n_kills {
        // On a slow machine the members may not have begun. What the dead have put and not noted is
        // not counted at the end.
        while root.queue.statistics().n_put <= 20 * (n_killed + 1) {
            std::thread::yield_now();
        }
        spin_for(Duration::from_micros(root.random.below(12_000)));
        let victim = members.swap_remove(root.random.index(n_members));
        unburied.push(victim.kill());
        // Others may come to what it left before it is buried, or after.
        if n_killed % 3 == 0 {
            unburied.drain(..).for_each(|dead| _ = dead.bury(&heap));
        }
        members.push(root.start());
    }
    unburied.extend(members.into_iter().map(Started::kill));
    unburied.drain(..).for_each(|dead| _ = dead.bury(&heap));
    let Root { notes, queue, companion, n_rows, .. } = root;
    let n_dead = n_kills + n_members as u64;
    let handles = [queue.handle(), companion.handle()];
    check(&notes, queue, n_rows, n_dead, n_at_once);
    drop((companion, notes));
    check_what_is_left(&heap, handles);
}

fn check(notes: &Notes, queue: SharedQueue, n_rows: u64, n_dead: u64, n_at_once: u64) {
    let mut root = Member {
        notes: notes.again(),
        companion: queue.clone(),
        queue,
        row: 0,
        n_put: 0,
        random: Random::new(1),
        last: Vec::new(),
        n_at_once: 1,
    };
    let n_lost_blocks = root.queue.statistics().n_lost;
    while let Ok(taken) = root.queue.try_get() {
        root.note(&taken);
    }
    // Whoever died last at either side may have left something to mend to the next who comes there.
    let last = Message { body: Body::Inline(b"the last"), carried: Carried::default() };
    root.queue.try_put(last).expect("there is room");
    assert_eq!(&*root.queue.try_get().expect("it was put").bytes, b"the last");
    assert_eq!(notes.complaint().load(Ordering::SeqCst), 0, "a member found something wrong");
    let (mut n_put, mut n_lost) = (0, 0);
    for row in 0..n_rows {
        let done = notes.done(row).load(Ordering::SeqCst);
        n_put += done;
        for number in 0..N_NUMBERS {
            let n_got = notes.n_got(row, number).load(Ordering::SeqCst);
            assert!(n_got <= 1, "message {number} of {row} was got {n_got} times");
            n_lost += u64::from(number < done && n_got == 0);
            let begun = notes.begun(row).load(Ordering::SeqCst);
            assert!(n_got == 0 || number < begun, "a message came that nobody put");
        }
    }
    println!("{n_put} put, {n_lost} lost with {n_dead} dead ({n_lost_blocks} in transit)");
    assert!(n_lost <= n_dead * n_at_once, "{n_lost} messages are lost, {n_dead} members died");
}

#[test]
fn killed_members_take_at_most_the_message_they_held() {
    fuzz(50, 1, 4);
}

#[test]
fn killed_members_of_a_queue_without_limit_take_at_most_the_messages_they_held() {
    fuzz(0, 6, 4);
}

#[test]
fn killed_members_of_a_queue_of_one_place_leave_it_working() {
    fuzz(1, 1, 3);
}
