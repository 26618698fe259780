//! Processes killed at any instruction of a shared queue: the others go on, every message that was
//! put is got once (but for the one its getter held), and the heap has all its memory back.
//!
//! The members are this very test binary, re-entered. Each puts numbered messages and gets whatever
//! comes; what was put and what was got stands in a ledger in the heap. `MANYHANDS_KILLS` sets how
//! many are killed.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use manyhands_queue::shared::{NotPut, SharedQueue};
use manyhands_shm::message::{Body, Message, Taken};
use manyhands_shm::{Carried, Handle, Heap, Party, family};
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_sys::socket::MessageSocket;

const MARK: &str = "MANYHANDS_TEST_QUEUE_MEMBER";
/// Messages that one member puts in its life.
const N_NUMBERS: u64 = 4_096;
/// Inline records, records that fill segments, blocks, runs.
const LENGTHS: [usize; 8] = [24, 24, 40, 300, 2_000, 4_000, 5_000, 270_000];

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// For each member a row: how many puts it has begun, how many are done, how often each was got.
struct Ledger {
    heap: Arc<Heap>,
    at: u64,
}

const ROW_LEN: u64 = 16 + N_NUMBERS;
/// In front of the rows: whether a member found something wrong.
const ROWS_AT: u64 = 64;

impl Ledger {
    fn word(&self, at: u64) -> &AtomicU64 {
        // SAFETY: inside the ledger's block, aligned, used only as atomics.
        unsafe { self.heap.address(self.at + at, 8).cast().as_ref() }
    }

    fn complaint(&self) -> &AtomicU64 {
        self.word(0)
    }

    fn begun(&self, row: u64) -> &AtomicU64 {
        self.word(ROWS_AT + row * ROW_LEN)
    }

    fn done(&self, row: u64) -> &AtomicU64 {
        self.word(ROWS_AT + row * ROW_LEN + 8)
    }

    fn n_got(&self, row: u64, number: u64) -> &AtomicU8 {
        let at = self.at + ROWS_AT + row * ROW_LEN + 16 + number;
        // SAFETY: inside the ledger's block, used only as an atomic.
        unsafe { self.heap.address(at, 1).cast().as_ref() }
    }
}

struct Member {
    ledger: Ledger,
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
        self.ledger.begun(self.row).store(number + 1, Ordering::SeqCst);
        match self.queue.put_for(message, Duration::from_micros(self.random.below(300))) {
            Ok(()) => {
                self.n_put += 1;
                self.ledger.done(self.row).store(self.n_put, Ordering::SeqCst);
            }
            Err(NotPut::Full(_)) => {}
            Err(_) => self.complain(1),
        }
    }

    fn put_several(&mut self) {
        let first = self.n_put;
        let all: Vec<_> = (first..first + 5).map(|number| self.bytes(number)).collect();
        let mut messages: VecDeque<_> = all.iter().map(|bytes| self.message(bytes)).collect();
        self.ledger.begun(self.row).store(first + 5, Ordering::SeqCst);
        if self.queue.try_put_many(&mut messages).is_err() {
            self.complain(2);
        }
        self.n_put += 5 - messages.len() as u64;
        self.ledger.done(self.row).store(self.n_put, Ordering::SeqCst);
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
        self.ledger.n_got(row, number).fetch_add(1, Ordering::SeqCst);
    }

    fn step(&mut self) {
        match self.random.below(9) {
            0..=2 if self.n_put + 5 < N_NUMBERS => self.put_one(),
            3 if self.n_put + 5 < N_NUMBERS => self.put_several(),
            _ => self.get(),
        }
    }

    fn complain(&self, what: u64) {
        self.ledger.complaint().store(what, Ordering::SeqCst);
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
    let (words, handles) = hello.bytes.split_at(40);
    let words: Vec<u64> =
        words.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let fd = hello.fds.into_iter().next().expect("the heap comes along");
    // SAFETY: the heap of this test, and a number of the joining process alone.
    let heap = unsafe { family::join(fd, Party::from_number(words[0] as u32)) }.expect("a heap");
    let open = |bytes| SharedQueue::open(Handle::from_bytes(bytes).expect("a handle"));
    let mut member = Member {
        ledger: Ledger { heap, at: words[1] },
        queue: open(&handles[..24]).expect("the queue"),
        companion: open(&handles[24..]).expect("the companion"),
        row: words[2],
        n_put: 0,
        random: Random(words[3] | 1),
        last: Vec::new(),
        n_at_once: words[4] as usize,
    };
    // The root's death closes the socket: no member survives it.
    while socket.try_receive().is_err() {
        (0..50).for_each(|_| member.step());
    }
    manyhands_sys::thread::exit_now(0);
}

struct Started {
    process: Child,
    party: Party,
    _socket: MessageSocket,
}

struct Root {
    heap: Arc<Heap>,
    queue: SharedQueue,
    companion: SharedQueue,
    ledger_at: u64,
    n_rows: u64,
    n_at_once: u64,
    random: Random,
}

impl Root {
    fn start(&mut self) -> Started {
        let (ours, theirs) = MessageSocket::pair().expect("a socket pair");
        let party = self.heap.new_party().expect("a number");
        let process = Command::new(std::env::current_exe().expect("the test binary has a path"))
            .args(["member_entry", "--exact", "--nocapture", "--quiet"])
            .env(MARK, "1")
            .stdin(Stdio::from(theirs.into_fd()))
            .stdout(Stdio::null())
            .spawn()
            .expect("a member starts");
        let seed = self.random.below(u64::MAX);
        let number = u64::from(party.number());
        let words = [number, self.ledger_at, self.n_rows, seed, self.n_at_once];
        let mut hello: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        hello.extend(self.queue.handle().to_bytes());
        hello.extend(self.companion.handle().to_bytes());
        ours.send(&hello, &[self.heap.fd().as_fd()]).expect("a member listens");
        self.n_rows += 1;
        Started { process, party, _socket: ours }
    }
}

fn n_kills() -> u64 {
    std::env::var("MANYHANDS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(120)
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
    let n_kills = n_kills();
    let heap = family::heap().expect("a heap");
    let ledger_len = ROWS_AT + (n_kills + n_members as u64) * ROW_LEN;
    let ledger = heap.alloc(ledger_len.max(1 << 20)).expect("room");
    let ledger_at = ledger.at().offset;
    let queue = SharedQueue::create(&heap, maxsize).expect("room");
    let companion = SharedQueue::create(&heap, 0).expect("room");
    let random = Random(0x9e37_79b9_7f4a_7c15);
    let mut root =
        Root { heap: Arc::clone(&heap), queue, companion, ledger_at, n_rows: 0, n_at_once, random };
    let mut members: Vec<_> = (0..n_members).map(|_| root.start()).collect();
    let mut unburied: Vec<Party> = Vec::new();
    for n_killed in 0..n_kills {
        // On a slow machine the members may not have begun. What the dead have put and not noted is
        // not counted at the end.
        while root.queue.statistics().n_put <= 20 * (n_killed + 1) {
            std::thread::yield_now();
        }
        let until = Instant::now() + Duration::from_micros(root.random.below(12_000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let mut victim = members.swap_remove(root.random.below(n_members as u64) as usize);
        victim.process.kill().expect("a child can be killed");
        victim.process.wait().expect("a child can be waited for");
        unburied.push(victim.party);
        // Others may come to what it left before it is buried, or after.
        if n_killed % 3 == 0 {
            // SAFETY: its process has ended, or was never started.
            unburied.drain(..).for_each(|party| _ = unsafe { heap.bury(party) });
        }
        members.push(root.start());
    }
    for mut member in members {
        member.process.kill().expect("a child can be killed");
        member.process.wait().expect("a child can be waited for");
        unburied.push(member.party);
    }
    // SAFETY: its process has ended, or was never started.
    unburied.drain(..).for_each(|party| _ = unsafe { heap.bury(party) });
    let Root { queue, companion, n_rows, .. } = root;
    let n_dead = n_kills + n_members as u64;
    let handles = [queue.handle(), companion.handle()];
    check(&Ledger { heap: Arc::clone(&heap), at: ledger_at }, queue, n_rows, n_dead, n_at_once);
    drop((companion, ledger));
    check_what_is_left(&heap, handles);
}

fn check(ledger: &Ledger, queue: SharedQueue, n_rows: u64, n_dead: u64, n_at_once: u64) {
    let mut root = Member {
        ledger: Ledger { heap: Arc::clone(&ledger.heap), at: ledger.at },
        companion: queue.clone(),
        queue,
        row: 0,
        n_put: 0,
        random: Random(1),
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
    assert_eq!(ledger.complaint().load(Ordering::SeqCst), 0, "a member found something wrong");
    let (mut n_put, mut n_lost) = (0, 0);
    for row in 0..n_rows {
        let done = ledger.done(row).load(Ordering::SeqCst);
        n_put += done;
        for number in 0..N_NUMBERS {
            let n_got = ledger.n_got(row, number).load(Ordering::SeqCst);
            assert!(n_got <= 1, "message {number} of {row} was got {n_got} times");
            n_lost += u64::from(number < done && n_got == 0);
            let begun = ledger.begun(row).load(Ordering::SeqCst);
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
