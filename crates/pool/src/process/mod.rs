//! The process pool: tasks in shared slots, workers that may die at any instruction.
//!
//! ```text
//! submit ──▶ pending ──▶ lane of a worker (shared slots) ──▶ worker claims, runs, replies
//!               ▲             │ revoke: cancel, or move to an idle worker        │
//!               └─────────────┘                                                  │
//!  result() ◀── Completion ◀── collector thread ◀── bell ◀── slot is DONE ◀──────┘
//! ```
//!
//! Guarantees:
//! - every task ends exactly once: with its reply, cancelled, timed out, or crashed;
//! - a worker's death fails the one task it had claimed; tasks waiting in its lane go elsewhere;
//! - nothing a worker does or fails to do can block the root or another worker;
//! - a cancelled pending task never starts.
//!
//! What it does not do: it knows nothing of what a task is. Functions, arguments and results are
//! bytes; what runs them is the worker program's business ([`WorkerEnd`]).
//!
//! The protocol, state by state and death by death, is in `README.md` beside this file.

mod callbacks;
mod collector;
mod lane;
mod note;
mod pool;
mod pool_core;
mod schedule;
mod slot;
mod surroundings;
mod task;
mod wakeup;
mod worker;

pub use pool::{PoolConfig, PoolHandle, ProcessPool};
pub use schedule::{PoolCounts, SubmitError, WorkerInfo};
pub use slot::ReplyKind;
pub use task::{Arguments, Body, Function, ProcessTask, Reply, TaskOptions};
pub use worker::{Job, Next, WorkerEnd};

pub use crate::future::TaskTimes;
