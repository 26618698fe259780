//! In which order items leave a [`Locked`](crate::Locked) store.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A collection that decides which item is next. Used by one thread at a time, under a mutex: no
/// method may call back into the queue.
pub trait Order<T>: Send {
    /// Adds an item.
    fn push(&mut self, item: T);

    /// Takes the next item.
    fn pop(&mut self) -> Option<T>;

    /// How many items there are.
    fn len(&self) -> usize;

    /// Whether there is no item.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// First in, first out.
#[derive(Debug)]
pub struct Arrival<T>(VecDeque<T>);

/// Last in, first out.
#[derive(Debug)]
pub struct LastFirst<T>(Vec<T>);

/// The smallest item first; equal ones in no particular order.
#[derive(Debug)]
pub struct SmallestFirst<T>(BinaryHeap<Reverse<T>>);

impl<T: Send> Order<T> for Arrival<T> {
    #[inline]
    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Send> Order<T> for LastFirst<T> {
    #[inline]
    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Ord + Send> Order<T> for SmallestFirst<T> {
    #[inline]
    fn push(&mut self, item: T) {
        self.0.push(Reverse(item));
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop().map(|Reverse(item)| item)
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Default for Arrival<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Default for LastFirst<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Default for SmallestFirst<T> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}
