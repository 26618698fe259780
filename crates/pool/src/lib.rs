//! Tasks, futures, and the two executors: threads and processes.

// Under loom only what has a model.
pub mod completion;
#[cfg(not(loom))]
pub mod error;
#[cfg(not(loom))]
pub mod future;
pub mod injector;
#[cfg(not(loom))]
pub mod panics;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
pub mod thread_pool;
#[cfg(not(loom))]
pub mod threads;
#[cfg(not(loom))]
pub mod wait;
// The process pool needs a heap, which is not modelled: its wake-ups alone are.
#[cfg(all(test, loom))]
#[allow(dead_code, reason = "what does not wait has no model")]
#[path = "process/wakeup.rs"]
mod wakeup;
