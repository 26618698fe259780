//! What a call on a queue can end with.

use std::fmt;

/// Why an item was not put, or several were not. What was not put comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// The queue holds as many items as it may, and did so until the deadline if there was one.
    Full(T),
    /// The queue takes no more items.
    ShutDown(T),
}

/// Why there was no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// The queue is empty, and was so until the deadline if there was one.
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
