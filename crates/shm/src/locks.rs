//! The locks that processes share, as kinds of objects: the same for every front.
//!
//! What lies in them is `manyhands_sync::shared`'s. They are made of atomics and hold nothing
//! besides their own block, so there is nothing to do at their end.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::heap::Heap;
use crate::object::{Kind, ids};

/// Released by anybody.
pub static LOCK: Kind = Kind { id: ids::LOCK, name: "lock", destroy };
/// Its owner may take it again.
pub static RLOCK: Kind = Kind { id: ids::RLOCK, name: "rlock", destroy };
/// A number of permits.
pub static SEMAPHORE: Kind = Kind { id: ids::SEMAPHORE, name: "semaphore", destroy };
/// A flag to wait for.
pub static EVENT: Kind = Kind { id: ids::EVENT, name: "event", destroy };
/// A row of waiters.
pub static CONDITION: Kind = Kind { id: ids::CONDITION, name: "condition", destroy };
/// Waits for a number of parties.
pub static BARRIER: Kind = Kind { id: ids::BARRIER, name: "barrier", destroy };
/// A lock with plain data behind it.
pub static MUTEX: Kind = Kind { id: ids::MUTEX, name: "mutex", destroy };

/// All of them, to be [registered](crate::object::register).
pub static KINDS: [&Kind; 7] = [&LOCK, &RLOCK, &SEMAPHORE, &EVENT, &CONDITION, &BARRIER, &MUTEX];

fn destroy(_heap: &Arc<Heap>, _payload: NonNull<u8>, _len: u64) {}
