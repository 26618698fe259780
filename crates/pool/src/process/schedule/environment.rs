//! What the scheduler needs of its surroundings, and all that it knows of them.
//!
//! A pool gives it the family's heap, its own bell, a launcher and the clock
//! (`surroundings.rs`); the unit tests give it a heap of their own, a launcher that starts nothing
//! and a clock that stands still until it is moved.
//!
//! Guarantees: the scheduler makes no other system call and reads no other clock. What it does not
//! do: it brings no news. What happens to a launched worker is told to the
//! [`Schedule`](super::Schedule) by whoever owns it.

use std::io;
use std::sync::Arc;

use manyhands_shm::{BlockRef, Heap, Party};
use manyhands_sys::pid::Signal;

use super::super::wakeup::Bell;

/// The surroundings of one pool's scheduler.
pub(crate) trait Environment {
    /// A worker's process, once the launcher has told which it is.
    type Process: Process;

    /// The heap in which lanes, arguments and replies lie.
    fn heap(&self) -> &Arc<Heap>;

    /// What wakes the collector.
    fn bell(&self) -> &Bell;

    /// The monotonic clock.
    fn now_ns(&self) -> u64;

    /// Asks for the process of the worker with this number, which is to be `party` in the heap and
    /// serves the lane at `lane`. What becomes of it is told to the scheduler later.
    ///
    /// # Errors
    /// If not even the asking was possible; then nothing is told.
    fn launch(&self, worker: u64, party: Party, lane: BlockRef) -> io::Result<()>;
}

/// A process that can be signalled and asked about, whether it is alive or has ended.
pub(crate) trait Process {
    /// Sends a signal. One that cannot be delivered is lost: a death is learned from its news.
    fn signal(&self, signal: Signal);

    /// Whether the kernel says that somebody has stopped it (SIGSTOP).
    fn is_stopped(&self) -> bool;
}
