//! Locks that processes share, and what goes with them: handles on states in the family heap.
//!
//! | file | what |
//! |---|---|
//! | [`mutex`], [`owner_died`] | plain data that one thread of one process at a time can reach |
//! | [`condvar`], [`semaphore`], [`event`], [`barrier`] | the rest, a file each |
//! | [`located`] | a state in the heap as this process has it |
//! | [`waiting`], [`held`] | how a Rust program waits for it, and what reports of deadlocks say |
//!
//! Guarantees: a process that is killed at any instruction leaves nothing that the others wait for
//! in vain, except what only it could have given: a permit, a notification, a set event.
//!
//! What it does not do: see a deadlock in which one of the waits is for something else than a
//! [`SharedMutex`] or a [`SharedMap`](crate::SharedMap), or has a timeout.

mod barrier;
mod condvar;
mod event;
mod held;
mod located;
mod mutex;
mod owner_died;
mod semaphore;
mod waiting;

pub(super) use held::{forget, note_of};
pub(super) use waiting::{Awaited, block_for_lock};

pub use barrier::SharedBarrier;
pub use condvar::SharedCondvar;
pub use event::SharedEvent;
pub use mutex::{SharedMutex, SharedMutexGuard};
pub use owner_died::OwnerDied;
pub use semaphore::{SharedPermit, SharedSemaphore};
