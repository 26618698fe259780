//! Primitives for Rust programs: values behind guards, places of the program in reports.
//!
//! A wait that is part of a deadlock panics with the report, in one of the threads, or prints it:
//! see [`crate::blocking`].

mod barrier;
mod condvar;
mod event;
mod mutex;
mod place;
mod reentrant;
mod rwlock;
mod semaphore;

pub use barrier::{Barrier, BrokenBarrier};
pub use condvar::Condvar;
pub use event::Event;
pub use mutex::{Mutex, MutexGuard};
pub use reentrant::{ReentrantMutex, ReentrantMutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Permit, Semaphore};
