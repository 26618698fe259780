//! What a call on a queue can end with.

use std::collections::VecDeque;
use std::fmt;

/// How a put ended that may wait. What was not put comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put<T> {
    /// The item is in the queue.
    Done,
    /// The deadline came, and the queue was full.
    TimedOut(T),
    /// A signal handler ran in this thread, and the queue was full.
    Interrupted(T),
    /// The queue takes no more items.
    ShutDown(T),
}

/// How a get ended that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Get<T> {
    /// An item, which no other get returns.
    Item(T),
    /// The deadline came, and the queue was empty.
    TimedOut,
    /// A signal handler ran in this thread, and the queue was empty.
    Interrupted,
    /// The queue is empty and will stay so.
    ShutDown,
}

/// How a put of several items ended. What was not put comes back, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutMany<T> {
    /// All are in the queue.
    Done,
    /// The deadline came, and the queue was full.
    TimedOut(VecDeque<T>),
    /// A signal handler ran in this thread, and the queue was full.
    Interrupted(VecDeque<T>),
    /// The queue takes no more items.
    ShutDown(VecDeque<T>),
}

/// How a join ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Every item that was put is done.
    Done,
    /// The deadline came.
    TimedOut,
    /// A signal handler ran in this thread.
    Interrupted,
}

/// Why an item was not put without waiting. It comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// The queue holds as many items as it may.
    Full(T),
    /// The queue takes no more items.
    ShutDown(T),
}

/// Why there was no item without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// The queue is empty.
    Empty,
    /// The queue is empty and will stay so.
    ShutDown,
}

/// The queue takes no more items; of a put, with the item that it did not take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShutDown<T = ()>(pub T);

/// More items were reported as done than were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyDone;

impl<T> fmt::Debug for ShutDown<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ShutDown")
    }
}

impl<T> fmt::Display for ShutDown<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the queue was shut down: it takes no more items")
    }
}

impl<T> std::error::Error for ShutDown<T> {}

impl fmt::Display for TooManyDone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("task_done() was called more often than items were put")
    }
}

impl std::error::Error for TooManyDone {}
