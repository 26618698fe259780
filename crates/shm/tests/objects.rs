//! Processes that make, pass on, open and drop objects, and are killed at any moment: no object
//! ends while somebody has it, and hardly any outlives its last holder.
//!
//! Alone in its program: it forks, and a fork copies only the thread that calls it.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manyhands_shm::object::Shape;
use manyhands_shm::{Carried, Handle, Heap, Kind, Object, family, object};
use manyhands_sys::atomic::{AtomicU64, Ordering};

// SAFETY: the one kind of this number, whose objects have eight bytes.
static KIND: Kind =
    unsafe { Kind::new(object::ids::TEST, "test object", |_, len| len == 8, deface) };

const WHOLE: u64 = 0x600d_600d_600d_600d;
const ENDED: u64 = 0xdead_dead_dead_dead;

/// What is written into an object when it ends: nobody may ever see it.
unsafe fn deface(_: &Arc<Heap>, payload: NonNull<u8>, _: u64) {
    // SAFETY: the payload has eight bytes, aligned.
    unsafe { payload.cast::<AtomicU64>().as_ref() }.store(ENDED, Ordering::SeqCst);
}

fn is_whole(object: &Object) -> bool {
    // SAFETY: as above.
    unsafe { object.payload().cast::<AtomicU64>().as_ref() }.load(Ordering::SeqCst) == WHOLE
}

const N_CELLS: usize = 32;
const N_PROCESSES: usize = 4;

fn n_kills() -> u32 {
    std::env::var("MANYHANDS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// Places where a message with one object can be left, and how often somebody saw an ended one.
struct Exchange {
    heap: Arc<Heap>,
    cells: *const AtomicU64,
}

impl Exchange {
    fn cell(&self, idx: usize) -> &AtomicU64 {
        assert!(idx <= N_CELLS);
        // SAFETY: the block has a word for each cell and one more, and is kept by the test.
        unsafe { &*self.cells.add(idx) }
    }

    fn check(&self, object: &Object) {
        if !is_whole(object) {
            self.cell(N_CELLS).fetch_add(1, Ordering::SeqCst);
        }
    }

    fn make(&self) -> Object {
        // SAFETY: eight bytes, which are written next.
        let object = unsafe { Object::create(&self.heap, &KIND, Shape::NONE, 8) }.expect("room");
        // SAFETY: as in `deface`.
        unsafe { object.payload().cast::<AtomicU64>().as_ref() }.store(WHOLE, Ordering::SeqCst);
        object
    }

    /// A handle in one word: who has the exchange knows the rest.
    fn word_of(handle: Handle) -> u64 {
        (handle.offset / 64) << 28 | u64::from(handle.serial % (1 << 28))
    }

    fn handle_of(&self, word: u64) -> Handle {
        let (offset, serial) = ((word >> 28) * 64, (word % (1 << 28)) as u32);
        Handle { family: self.heap.family(), offset, serial, kind: KIND.id() }
    }

    fn send(&self, object: &Object, cell: usize) {
        let (handle, carried) = Carried::collect(|| object.travel());
        carried.leave_to_message();
        let before = self.cell(cell).swap(Self::word_of(handle), Ordering::SeqCst);
        if before != 0 {
            // SAFETY: left to this message, which nobody reads any more.
            unsafe { object::release_message(&self.heap, &[self.handle_of(before)]) };
        }
    }

    fn receive(&self, cell: usize) -> Option<Object> {
        let word = self.cell(cell).swap(0, Ordering::SeqCst);
        if word == 0 {
            return None;
        }
        let handle = self.handle_of(word);
        // SAFETY: left to this message, which is read once.
        let carried = unsafe { Carried::from_message(&self.heap, &[handle]) };
        let object = Object::open(handle, &KIND).expect("the message has it");
        drop(carried);
        Some(object)
    }

    fn step(&self, held: &mut Vec<Object>, random: &mut Random) {
        let cell = random.below(N_CELLS as u64) as usize;
        match random.below(6) {
            0 if held.len() < 20 => held.push(self.make()),
            1 | 2 if !held.is_empty() => {
                let object = &held[random.below(held.len() as u64) as usize];
                self.check(object);
                self.send(object, cell);
            }
            3 if !held.is_empty() => {
                let object = held.swap_remove(random.below(held.len() as u64) as usize);
                self.check(&object);
            }
            _ if held.len() < 20 => held.extend(self.receive(cell).inspect(|got| self.check(got))),
            _ => held.clear(),
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Member {
    pid: libc::pid_t,
    party: manyhands_shm::Party,
}

fn start(exchange: &Exchange, seed: u64) -> Member {
    family::before_fork();
    // SAFETY: the only test of this program; the child runs nothing but what is below.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        family::after_fork_in_child();
        let (mut held, mut random) = (Vec::new(), Random(seed | 1));
        loop {
            exchange.step(&mut held, &mut random);
        }
    }
    assert!(pid > 0, "fork works");
    family::after_fork_in_parent();
    let (heap, party) = family::last_forked().expect("the child was announced");
    heap.name_party(party, pid as u32);
    Member { pid, party }
}

fn end(exchange: &Exchange, member: &Member) {
    // SAFETY: a child of ours, which nobody else reaps.
    unsafe {
        libc::kill(member.pid, libc::SIGKILL);
        libc::waitpid(member.pid, std::ptr::null_mut(), 0);
    }
    // SAFETY: its process has ended, or was never started.
    unsafe { exchange.heap.bury(member.party) };
}

#[test]
fn objects_live_as_long_as_somebody_has_them() {
    object::register(&[&KIND]);
    let heap = family::heap().expect("a heap");
    let mut block = heap.alloc((N_CELLS as u64 + 1) * 8).expect("room");
    block.fill(0);
    let cells = block.as_ptr().cast::<AtomicU64>();
    let exchange = Exchange { heap: Arc::clone(&heap), cells };
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut held = Vec::new();
    let mut members: Vec<_> =
        (0..N_PROCESSES).map(|_| start(&exchange, random.below(u64::MAX))).collect();
    for _ in 0..n_kills() {
        let until = Instant::now() + Duration::from_micros(random.below(4_000));
        while Instant::now() < until {
            exchange.step(&mut held, &mut random);
        }
        let victim = random.below(N_PROCESSES as u64) as usize;
        end(&exchange, &members[victim]);
        members[victim] = start(&exchange, random.below(u64::MAX));
    }
    members.iter().for_each(|member| end(&exchange, member));
    assert_eq!(exchange.cell(N_CELLS).load(Ordering::SeqCst), 0, "an object ended too early");
    held.clear();
    (0..N_CELLS).for_each(|cell| drop(exchange.receive(cell)));
    assert_eq!(heap.parties().count(), 1, "everybody else is buried");

    // What is left are objects whose holder was killed within a few instructions of counting. A
    // kill leaves one object at the most, however many hit such a moment.
    let n_left = heap.count_held_by(manyhands_shm::Party::FAMILY);
    let n_deaths = u64::from(n_kills()) + N_PROCESSES as u64;
    assert!(n_left <= n_deaths, "{n_left} objects have no holder, {n_deaths} processes died");
}
