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
use manyhands_testing::fork::{ForkedParty, fork_party};
use manyhands_testing::ledger::Ledger;
use manyhands_testing::n_kills;
use manyhands_testing::random::Random;

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

/// Places where a message with one object can be left, and how often somebody saw an ended one.
struct Exchange {
    cells: Ledger,
}

impl Exchange {
    fn heap(&self) -> &Arc<Heap> {
        self.cells.heap()
    }

    fn cell(&self, idx: usize) -> &AtomicU64 {
        self.cells.word(idx as u64)
    }

    fn check(&self, object: &Object) {
        if !is_whole(object) {
            self.cell(N_CELLS).fetch_add(1, Ordering::SeqCst);
        }
    }

    fn make(&self) -> Object {
        // SAFETY: eight bytes, which are written next.
        let object = unsafe { Object::create(self.heap(), &KIND, Shape::NONE, 8) }.expect("room");
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
        Handle { family: self.heap().family(), offset, serial, kind: KIND.id() }
    }

    fn send(&self, object: &Object, cell: usize) {
        let (handle, carried) = Carried::collect(|| object.travel());
        carried.leave_to_message();
        let before = self.cell(cell).swap(Self::word_of(handle), Ordering::SeqCst);
        if before != 0 {
            // SAFETY: left to this message, which nobody reads any more.
            unsafe { object::release_message(self.heap(), &[self.handle_of(before)]) };
        }
    }

    fn receive(&self, cell: usize) -> Option<Object> {
        let word = self.cell(cell).swap(0, Ordering::SeqCst);
        if word == 0 {
            return None;
        }
        let handle = self.handle_of(word);
        // SAFETY: left to this message, which is read once.
        let carried = unsafe { Carried::from_message(self.heap(), &[handle]) };
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

fn start(exchange: &Exchange, seed: u64) -> ForkedParty {
    let work = || {
        let (mut held, mut random) = (Vec::new(), Random::new(seed));
        loop {
            exchange.step(&mut held, &mut random);
        }
    };
    // SAFETY: the only test of this program, and it starts no thread.
    unsafe { fork_party(work) }.named(exchange.heap())
}

#[test]
fn objects_live_as_long_as_somebody_has_them() {
    object::register(&[&KIND]);
    let heap = family::heap().expect("a heap");
    let exchange = Exchange { cells: Ledger::create(&heap, (N_CELLS as u64 + 1) * 8) };
    let n_kills = n_kills(1_000);
    let mut random = Random::new(Random::SEED);
    let mut held = Vec::new();
    let mut members: Vec<_> =
        (0..N_PROCESSES).map(|_| start(&exchange, random.next_u64())).collect();
    for _ in 0..n_kills {
        let until = Instant::now() + Duration::from_micros(random.below(4_000));
        while Instant::now() < until {
            exchange.step(&mut held, &mut random);
        }
        members.swap_remove(random.index(N_PROCESSES)).kill().bury(&heap);
        members.push(start(&exchange, random.next_u64()));
    }
    members.into_iter().for_each(|member| _ = member.kill().bury(&heap));
    assert_eq!(exchange.cell(N_CELLS).load(Ordering::SeqCst), 0, "an object ended too early");
    held.clear();
    (0..N_CELLS).for_each(|cell| drop(exchange.receive(cell)));
    assert_eq!(heap.parties().count(), 1, "everybody else is buried");

    // What is left are objects whose holder was killed within a few instructions of counting. A
    // kill leaves one object at the most, however many hit such a moment.
    let n_left = heap.count_held_by(manyhands_shm::Party::FAMILY);
    let n_deaths = n_kills + N_PROCESSES as u64;
    assert!(n_left <= n_deaths, "{n_left} objects have no holder, {n_deaths} processes died");
}
