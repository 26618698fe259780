//! Tasks, futures, and the two executors: threads and processes.

pub mod completion;
