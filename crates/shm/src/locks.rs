//! The locks that processes share, as kinds of objects: the same for every front.
//!
//! What lies in them is `manyhands_sync::shared`'s. They are made of atomics and hold nothing
//! besides their own block, so there is nothing to do at their end.

use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_sync::event::RawEvent;
use manyhands_sync::shared::barrier::SharedBarrier;
use manyhands_sync::shared::condition::WaiterRow;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::semaphore::SharedSemaphore;
use manyhands_sys::futex::Shared;

use crate::heap::Heap;
use crate::object::{Kind, ids};

/// Released by anybody.
pub static LOCK: Kind = of::<SharedLock>(ids::LOCK, "lock");
/// Its owner may take it again.
pub static RLOCK: Kind = of::<SharedLock>(ids::RLOCK, "rlock");
/// A number of permits.
pub static SEMAPHORE: Kind = of::<SharedSemaphore>(ids::SEMAPHORE, "semaphore");
/// A flag to wait for.
pub static EVENT: Kind = of::<RawEvent<Shared>>(ids::EVENT, "event");
/// A row of waiters.
pub static CONDITION: Kind = of::<WaiterRow>(ids::CONDITION, "condition");
/// Waits for a number of parties.
// SAFETY: the one kind of this number. Nothing is to be done at its end.
pub static BARRIER: Kind = unsafe { Kind::new(ids::BARRIER, "barrier", fits_barrier, destroy) };
/// A lock with plain data behind it.
pub static MUTEX: Kind = of::<SharedLock>(ids::MUTEX, "mutex");

/// All of them, to be [registered](crate::object::register).
pub static KINDS: [&Kind; 7] = [&LOCK, &RLOCK, &SEMAPHORE, &EVENT, &CONDITION, &BARRIER, &MUTEX];

/// A kind whose objects begin with a `T`, with a number that no other kind of this file has.
const fn of<T>(id: u32, name: &'static str) -> Kind {
    // SAFETY: the numbers are those of `ids`, each used once. Nothing is to be done at the end.
    unsafe { Kind::new(id, name, fits::<T>, destroy) }
}

unsafe fn fits<T>(_payload: NonNull<u8>, len: u64) -> bool {
    len >= size_of::<T>() as u64
}

/// Behind the words of a barrier are those of its waiters, as many as it says.
unsafe fn fits_barrier(payload: NonNull<u8>, len: u64) -> bool {
    if len < size_of::<SharedBarrier>() as u64 {
        return false;
    }
    // SAFETY: long enough, aligned to 64, made of atomics, and there by the caller's promise.
    let barrier: &SharedBarrier = unsafe { payload.cast().as_ref() };
    SharedBarrier::len_for(barrier.n_parties()) <= len
}

unsafe fn destroy(_heap: &Arc<Heap>, _payload: NonNull<u8>, _len: u64) {}
