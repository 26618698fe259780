//! Locks between processes as Python sees them, below the classes of `_mp/synchronize.py`.

pub mod barrier;
pub mod condition;
pub mod event;
pub mod local_lock;
pub mod lock;
mod methods;
pub mod owner_died;
pub mod rlock;
pub mod semaphore;
pub mod waiting;
pub mod with_block;
