//! Tasks, futures, and the two executors: threads and processes.

pub mod completion;
pub mod error;
pub mod future;
pub mod injector;
pub mod panics;
pub mod process;
pub mod thread_pool;
pub mod wait;
