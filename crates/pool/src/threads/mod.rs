//! The threads of a pool, whatever runs in them: who works, who has given up, who is being stopped.
//!
//! A [`ThreadSet`] starts threads when tasks need them, hands them the tasks and lets them end.
//! What a thread is and what it does with a task is its [`Kind`]'s: Rust closures
//! ([`thread_pool`](crate::thread_pool)), or calls in an interpreter. A [`Slot`] stands for one
//! thread: which tasks it is in, and whether it is being stopped.
//!
//! What it does not do: it keeps no outcome; that is the task's own.

mod set;
mod slot;

pub use set::{Kind, NewThread, Numbers, Refused, ThreadSet};
pub use slot::{Slot, TaskKey, forget_after_fork, is_worker, take_interrupt};
