//! What a Python queue keeps its items in.

use std::collections::VecDeque;

use manyhands_queue::{Locked, Order, Queue};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

/// An item; none where only the number of items is kept.
pub type Item = Option<Py<PyAny>>;

/// The queue under a Python queue.
pub type ItemQueue = Queue<Item, Locked<Item, Items>>;

/// The items, or how many there are.
pub enum Items {
    /// First in, first out.
    Fifo(VecDeque<Item>),
    /// Last in, first out.
    Lifo(Vec<Item>),
    /// They lie in a heap, elsewhere.
    Counted(usize),
}

impl Order<Item> for Items {
    #[inline]
    fn push(&mut self, item: Item) {
        match self {
            Self::Fifo(items) => items.push_back(item),
            Self::Lifo(items) => items.push(item),
            Self::Counted(n_items) => *n_items += 1,
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Item> {
        match self {
            Self::Fifo(items) => items.pop_front(),
            Self::Lifo(items) => items.pop(),
            Self::Counted(n_items) => {
                *n_items = n_items.checked_sub(1)?;
                Some(None)
            }
        }
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            Self::Fifo(items) => items.len(),
            Self::Lifo(items) => items.len(),
            Self::Counted(n_items) => *n_items,
        }
    }
}

impl Items {
    /// All items, in the order in which they were put; empty afterwards. To be dropped outside
    /// the mutex.
    pub fn take(&mut self) -> Self {
        let empty = match self {
            Self::Fifo(_) => Self::Fifo(VecDeque::new()),
            Self::Lifo(_) => Self::Lifo(Vec::new()),
            Self::Counted(_) => Self::Counted(0),
        };
        std::mem::replace(self, empty)
    }

    /// New references to the items, in the order in which they were put.
    pub fn references(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let of = |item: &Item| item.as_ref().map(|item| item.clone_ref(py));
        match self {
            Self::Fifo(items) => items.iter().filter_map(of).collect(),
            Self::Lifo(items) => items.iter().filter_map(of).collect(),
            Self::Counted(_) => Vec::new(),
        }
    }

    /// Shows the garbage collector the items.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Fifo(items) => items.iter().try_for_each(|item| visit.call(item)),
            Self::Lifo(items) => items.iter().try_for_each(|item| visit.call(item)),
            Self::Counted(_) => Ok(()),
        }
    }
}
