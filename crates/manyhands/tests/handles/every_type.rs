//! The types that can be sent, and one way to open any of them.

use bytemuck::{Pod, Zeroable};
use manyhands::{
    OwnerDied, Pipe, Shared, SharedBarrier, SharedCondvar, SharedEvent, SharedMap, SharedMutex,
    SharedQueue, SharedSemaphore, SharedSlice,
};
use manyhands_shm::Carried;
use manyhands_shm::cell::Number;
use serde::Serialize;

/// Bytes of a handle.
pub const LEN: usize = 24;

pub type Bytes = [u8; LEN];

/// As long as a `[u64; 8]`, and aligned differently.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Narrow(pub [u16; 32]);

/// The types by which a handle may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Type {
    U64,
    F64,
    U8,
    RowOfU64,
    RowOfU8,
    RowOfF32,
    Mutex,
    LongMutex,
    NarrowMutex,
    Condvar,
    Semaphore,
    Event,
    Barrier,
    Queue,
    Pipe,
    Map,
}

pub const TYPES: [Type; 16] = [
    Type::U64,
    Type::F64,
    Type::U8,
    Type::RowOfU64,
    Type::RowOfU8,
    Type::RowOfF32,
    Type::Mutex,
    Type::LongMutex,
    Type::NarrowMutex,
    Type::Condvar,
    Type::Semaphore,
    Type::Event,
    Type::Barrier,
    Type::Queue,
    Type::Pipe,
    Type::Map,
];

/// The bytes that an object is sent as, in a message that is thrown away: they keep nothing alive.
pub fn bytes_of(object: &impl Serialize) -> Bytes {
    let (bytes, _) = Carried::collect(|| postcard::to_stdvec(object));
    let bytes = bytes.expect("a handle is plain data");
    bytes.try_into().expect("and as long as every handle")
}

/// Whether the bytes open as this type; what opens is used to its ends.
pub fn opens(bytes: &[u8], as_type: Type) -> bool {
    match as_type {
        Type::U64 => uses(bytes, |number: Shared<u64>| {
            let _ = number.update(|n| Some(n.wrapping_add(1)));
        }),
        Type::F64 => uses(bytes, |number: Shared<f64>| number.set(number.get())),
        Type::U8 => uses(bytes, |number: Shared<u8>| number.set(number.get())),
        Type::RowOfU64 => uses(bytes, |row: SharedSlice<u64>| {
            (0..row.len()).step_by(row.len().max(1).div_ceil(8)).for_each(|idx| _ = row.get(idx));
            write_last(&row);
        }),
        Type::RowOfU8 => uses(bytes, |row: SharedSlice<u8>| {
            write_last(&row);
        }),
        Type::RowOfF32 => uses(bytes, |row: SharedSlice<f32>| {
            write_last(&row);
        }),
        Type::Mutex => uses(bytes, |mutex: SharedMutex<[u64; 8]>| {
            let mut data = mutex.lock().unwrap_or_else(OwnerDied::into_inner);
            data[7] = data[7].wrapping_add(1);
        }),
        Type::LongMutex => uses(bytes, |mutex: SharedMutex<[u64; 512]>| {
            let mut data = mutex.lock().unwrap_or_else(OwnerDied::into_inner);
            data[511] = data[511].wrapping_add(1);
        }),
        Type::NarrowMutex => uses(bytes, |mutex: SharedMutex<Narrow>| {
            let mut data = mutex.lock().unwrap_or_else(OwnerDied::into_inner);
            data.0[31] = data.0[31].wrapping_add(1);
        }),
        Type::Condvar => uses(bytes, |condvar: SharedCondvar| condvar.notify_all()),
        Type::Semaphore => uses(bytes, |semaphore: SharedSemaphore| drop(semaphore.try_acquire())),
        Type::Event => uses(bytes, |event: SharedEvent| _ = event.is_set()),
        Type::Barrier => uses(bytes, |barrier: SharedBarrier| _ = barrier.n_waiting()),
        Type::Queue => uses(bytes, |queue: SharedQueue<u64>| {
            queue.put(&7).expect("room");
            // In a queue with messages of another type one of these may come.
            let _ = queue.get();
        }),
        Type::Pipe => uses(bytes, |end: Pipe<u64>| _ = end.is_ready()),
        Type::Map => uses(bytes, |map: SharedMap<u64, u64>| {
            map.insert(&1, &2).expect("room");
            assert_eq!(map.get(&1).expect("it can be read"), Some(2));
        }),
    }
}

fn write_last<T: Number>(row: &SharedSlice<T>) {
    if let Some(last) = row.len().checked_sub(1) {
        row.set(last, row.get(last));
    }
}

fn uses<T: serde::de::DeserializeOwned>(bytes: &[u8], use_it: impl FnOnce(T)) -> bool {
    postcard::from_bytes(bytes).map(use_it).is_ok()
}

/// The parts of a handle.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub family: u64,
    pub offset: u64,
    pub serial: u32,
    pub kind: u32,
}

impl Parts {
    pub fn of(bytes: Bytes) -> Self {
        let (eights, _) = bytes.as_chunks::<8>();
        let last = u64::from_ne_bytes(eights[2]).to_ne_bytes();
        let (fours, _) = last.as_chunks::<4>();
        Self {
            family: u64::from_ne_bytes(eights[0]),
            offset: u64::from_ne_bytes(eights[1]),
            serial: u32::from_ne_bytes(fours[0]),
            kind: u32::from_ne_bytes(fours[1]),
        }
    }

    pub fn bytes(self) -> Bytes {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&self.family.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.serial.to_ne_bytes());
        bytes[20..].copy_from_slice(&self.kind.to_ne_bytes());
        bytes
    }
}
