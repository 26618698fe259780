//! Locks, semaphores, events, barriers and conditions whose waits can be interrupted, and which
//! tell when they would last for ever.
//!
//! Three levels of trust, a file each: the futex (`manyhands-sys`), the raw primitives here
//! ([`lock::RawLock`] and its neighbours: a state word, no data), and the typed guards for Rust
//! programs ([`Mutex`], [`RwLock`], …).
//!
//! Guarantees:
//! - An uncontended operation is one atomic read-modify-write; nothing else is touched that
//!   another thread reads.
//! - Every wait for a primitive goes through [`sleep::sleep`]: it honours its deadline, ends for a
//!   signal or an [`interrupt`](sleep::interrupt), and is known to [`deadlock`] once it has lasted
//!   a while.
//! - A wait that is given up (timed out, interrupted, told to be part of a deadlock) takes no
//!   wake-up with it that another waiter needs.
//!
//! What it does not do: it poisons nothing. A thread that panics gives back what its guards hold.

pub mod barrier;
#[cfg(not(loom))]
pub mod blocking;
pub mod condition;
#[cfg(not(loom))]
pub mod deadlock;
pub mod event;
pub mod event_count;
pub mod lock;
pub mod overflow;
pub mod rlock;
pub mod robust;
pub mod rwlock;
pub mod semaphore;
pub mod shared;
pub mod sleep;
pub mod spin;
pub mod statistics;
#[cfg(not(loom))]
mod typed;

#[cfg(not(loom))]
pub use typed::{
    Barrier, BrokenBarrier, Condvar, Event, Mutex, MutexGuard, Permit, ReentrantMutex,
    ReentrantMutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore,
};
