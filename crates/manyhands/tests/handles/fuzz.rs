//! A million made-up handles: each opens exactly if it is, bit for bit, the handle of an object
//! that lives, as the type that this is. Nothing of the program's is harmed by any.
//!
//! `MANYHANDS_HANDLES` says how many; `MANYHANDS_SEED` with what they begin.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use manyhands::{
    Pipe, Shared, SharedBarrier, SharedCondvar, SharedEvent, SharedMap, SharedMutex, SharedQueue,
    SharedSemaphore, SharedSlice,
};
use manyhands_testing::random::Random;

use crate::every_type::{Bytes, LEN, Narrow, Parts, TYPES, Type, bytes_of, opens};

const REGION: u64 = 256 * 1024;

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Objects of every type, and the handles that open them.
struct World {
    living: HashMap<Bytes, Type>,
    handles: Vec<Bytes>,
    /// Of objects that are gone.
    old: Vec<Bytes>,
    rows: Vec<SharedSlice<u64>>,
    messages: SharedQueue<Vec<u64>>,
    _others: Vec<Box<dyn std::any::Any>>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            living: HashMap::new(),
            handles: Vec::new(),
            old: Vec::new(),
            rows: Vec::new(),
            messages: SharedQueue::unbounded().unwrap(),
            _others: Vec::new(),
        };
        // Seldom opened: what it holds is to stay.
        world.living.insert(bytes_of(&world.messages), Type::Queue);
        for nth in 0..3_u32 {
            world.add(Shared::new(u64::from(nth)).unwrap(), Type::U64);
            world.add(Shared::new(1.5_f64).unwrap(), Type::F64);
            world.add(Shared::new(7_u8).unwrap(), Type::U8);
            world.add(SharedSlice::<u8>::new(100_000 * nth as usize + 1).unwrap(), Type::RowOfU8);
            world.add(SharedSlice::<f32>::new(50).unwrap(), Type::RowOfF32);
            world.add(SharedMutex::new([0_u64; 8]).unwrap(), Type::Mutex);
            world.add(SharedMutex::new([0_u64; 512]).unwrap(), Type::LongMutex);
            world.add(SharedMutex::new(Narrow([0; 32])).unwrap(), Type::NarrowMutex);
            world.add(SharedCondvar::new().unwrap(), Type::Condvar);
            world.add(SharedSemaphore::new(nth).unwrap(), Type::Semaphore);
            world.add(SharedEvent::new().unwrap(), Type::Event);
            world.add(SharedBarrier::new(100 * nth + 1).unwrap(), Type::Barrier);
            world.add(SharedQueue::<u64>::bounded(4).unwrap(), Type::Queue);
            let (one, other) = Pipe::<u64>::pair().unwrap();
            world.add(one, Type::Pipe);
            world.add(other, Type::Pipe);
            world.add(SharedMap::<u64, u64>::new().unwrap(), Type::Map);
            // Small ones, and one that is a block of its own regions.
            let row = SharedSlice::<u64>::new([8, 1_000, 40_000][nth as usize]).unwrap();
            world.note(&row, Type::RowOfU64);
            world.rows.push(row);
            world.old.push(bytes_of(&SharedEvent::new().unwrap()));
        }
        world
    }

    fn add<T: serde::Serialize + 'static>(&mut self, object: T, its_type: Type) {
        self.note(&object, its_type);
        self._others.push(Box::new(object));
    }

    fn note(&mut self, object: &impl serde::Serialize, its_type: Type) {
        self.living.insert(bytes_of(object), its_type);
        self.handles.push(bytes_of(object));
    }

    /// Fills what the program may write with what headers and words of objects look like.
    fn fill_with_headers(&self, random: &mut Random) {
        let words = |random: &mut Random| {
            let parts = Parts::of(random.one_of(&self.handles));
            let serial = u64::from(parts.serial) << 32;
            [
                serial | u64::from(parts.kind),
                u64::from(parts.kind) << 32 | u64::from(parts.serial),
                serial | 1,
                1 << 32 | 0x8000_0001,
                parts.offset,
                64,
                random.next_u64() % 512,
                u64::MAX / 2,
            ]
        };
        for row in &self.rows {
            for idx in 0..row.len() {
                let words = words(random);
                row.set(idx, random.one_of(&words));
            }
        }
        while self.messages.len() < 6 {
            let message = (0..256).flat_map(|_| words(random)).collect();
            self.messages.put(&message).unwrap();
        }
    }

    fn made_up(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = random.one_of(&self.handles);
        let other = Parts::of(random.one_of(&self.handles));
        for _ in 0..=random.index(2) {
            let mut parts = Parts::of(bytes);
            let anything = random.next_u64();
            match random.index(14) {
                0 => bytes[random.index(LEN)] ^= 1 << random.index(8),
                1 => bytes[random.index(LEN)] = random.next_u64() as u8,
                2 => parts.offset = other.offset,
                3 => parts.serial = other.serial,
                4 => parts.kind = other.kind,
                5 => parts.offset = parts.offset.wrapping_add(64 * (random.next_u64() % 256)),
                6 => parts.offset = parts.offset.wrapping_sub(8 * (random.next_u64() % 256)),
                // Anywhere in a region in which, or near which, something lies.
                7 => {
                    parts.offset =
                        other.offset / REGION * REGION + random.next_u64() % REGION / 64 * 64
                }
                8 => parts.offset = (random.next_u64() % (64 << 20)) & !(random.next_u64() % 256),
                9 => parts.kind = random.next_u64() as u32 % 65,
                10 => {
                    parts.serial = parts.serial.wrapping_add(random.index(5) as u32).wrapping_sub(2)
                }
                11 => parts.family = anything,
                12 => parts = Parts::of(random.one_of(&self.old)),
                _ => parts.offset = random.one_of(&[0, 64, 4096, 1 << 40, u64::MAX, anything]),
            }
            if Parts::of(bytes).bytes() == bytes && random.index(14) > 1 {
                bytes = parts.bytes();
            }
        }
        let len = if random.index(20) == 0 { random.index(LEN) } else { LEN };
        bytes[..len].to_vec()
    }

    fn check(&self, made_up: &[u8], as_type: Type) {
        let right = <Bytes>::try_from(made_up).ok().and_then(|bytes| self.living.get(&bytes));
        let opened = opens(made_up, as_type);
        assert_eq!(opened, right == Some(&as_type), "{made_up:?} as {as_type:?}");
    }
}

#[test]
fn a_million_made_up_handles_open_nothing_but_what_they_name() {
    let seed = variable("MANYHANDS_SEED", 0x2545_f491_4f6c_dd1d);
    let mut random = Random::new(seed);
    let world = World::new();
    world.fill_with_headers(&mut random);
    for nth in 0..variable("MANYHANDS_HANDLES", 1_000_000) {
        let made_up = world.made_up(&mut random);
        // Half of them as what they name, or would.
        let its_type = <Bytes>::try_from(made_up.as_slice()).ok();
        let its_type = its_type.and_then(|bytes| world.living.get(&bytes).copied());
        let as_type = match its_type {
            Some(its_type) if random.index(2) == 0 => its_type,
            _ => random.one_of(&TYPES),
        };
        world.check(&made_up, as_type);
        if nth % 100_000 == 0 {
            let _ = world.messages.get();
            world.fill_with_headers(&mut random);
        }
    }
    // No reference was lost on the way, and none is left over.
    for (handle, its_type) in &world.living {
        assert!(opens(handle, *its_type), "a {its_type:?} does not open any more");
    }
    let living = world.living.clone();
    drop(world);
    for (handle, its_type) in &living {
        assert!(!opens(handle, *its_type), "a {its_type:?} that nobody has lives on");
    }
}

/// The number that a cell with this handle has, as long as it lives.
fn number_of(handle: Bytes) -> u64 {
    let parts = Parts::of(handle);
    parts.offset.rotate_left(7) ^ (u64::from(parts.serial) << 32 | 1)
}

/// Says that it is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes cells and drops them, and tells the handle of each before.
fn come_and_go(known: &[Mutex<Option<Bytes>>], seed: u64, is_over: &AtomicBool) {
    let mut random = Random::new(seed);
    let mut mine: Vec<Shared<u64>> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let cell = Shared::new(0).unwrap();
        let handle = bytes_of(&cell);
        cell.set(number_of(handle));
        *known[random.index(known.len())].lock().unwrap() = Some(handle);
        mine.push(cell);
        if mine.len() > 6 {
            mine.swap_remove(random.index(mine.len()));
        }
    }
}

#[test]
fn a_handle_opened_while_its_object_ends_opens_that_or_nothing() {
    let n_wanted = variable("MANYHANDS_HANDLES", 1_000_000) / 50;
    let seed = variable("MANYHANDS_SEED", 0x9e37_79b9_7f4a_7c15);
    // The handles of cells that live, or did a moment ago.
    let known: [Mutex<Option<Bytes>>; 16] = Default::default();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        for nth in 0..2 {
            let (known, is_over) = (&known, &is_over);
            scope.spawn(move || {
                let _over = Over(is_over);
                come_and_go(known, seed + nth, is_over);
            });
        }
        let mut random = Random::new(seed + 7);
        let (mut n_opened, mut n_gone) = (0, 0);
        while (n_opened < n_wanted || n_gone < n_wanted) && !is_over.load(Ordering::Relaxed) {
            let handle = *known[random.index(known.len())].lock().unwrap();
            let Some(handle) = handle else { continue };
            match postcard::from_bytes::<Shared<u64>>(&handle) {
                Ok(cell) => {
                    assert_eq!(cell.get(), number_of(handle), "it is another object");
                    n_opened += 1;
                }
                Err(_) => n_gone += 1,
            }
            let as_mutex = postcard::from_bytes::<SharedMutex<[u64; 8]>>(&handle);
            assert!(as_mutex.is_err(), "a cell opens as a mutex");
        }
    });
}
