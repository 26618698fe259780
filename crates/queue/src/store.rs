//! What a queue keeps its items in.

use std::collections::VecDeque;

use crate::outcome::{Nothing, Refused};

/// Items that any thread may push and pop; nothing here waits for an item or for room.
///
/// For the waiting to lose no wake-up, a store owes this: a thread that joins a line of sleepers
/// (a sequentially consistent write) and then finds the store empty, or full, did so before the
/// push, or pop, that ended this; and whoever pushes, or pops, and then reads the line's length
/// (sequentially consistent) finds that thread in it. A mutex around each call does it, and so do
/// sequentially consistent accesses to the positions of a ring.
pub trait Store<T>: Send + Sync {
    /// Adds an item, unless the store is full or closed.
    ///
    /// # Errors
    /// Gives the item back.
    fn push(&self, item: T) -> Result<(), Refused<T>>;

    /// Takes the item whose turn it is.
    ///
    /// # Errors
    /// Says whether there may ever be another one.
    fn pop(&self) -> Result<T, Nothing>;

    /// Adds items from the front of `items` until the store is full. How many; zero only if it is
    /// full, or there were none.
    ///
    /// # Errors
    /// If the store is closed, with the number of items pushed before that.
    fn push_many(&self, items: &mut VecDeque<T>) -> Result<usize, usize> {
        let mut n_pushed = 0;
        while let Some(item) = items.pop_front() {
            match self.push(item) {
                Ok(()) => n_pushed += 1,
                Err(Refused::Full(item)) => {
                    items.push_front(item);
                    break;
                }
                Err(Refused::ShutDown(item)) => {
                    items.push_front(item);
                    return Err(n_pushed);
                }
            }
        }
        Ok(n_pushed)
    }

    /// Takes up to `n_max` items, into `items`, and says how many.
    fn pop_many(&self, n_max: usize, items: &mut Vec<T>) -> usize {
        let mut n_popped = 0;
        while n_popped < n_max
            && let Ok(item) = self.pop()
        {
            items.push(item);
            n_popped += 1;
        }
        n_popped
    }

    /// Refuses every push from now on. False if it did so before.
    fn close(&self) -> bool;

    /// Whether pushes are refused.
    fn is_closed(&self) -> bool;

    /// How many items there are.
    fn len(&self) -> usize;

    /// Whether there is no item.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items there may be, or zero if that is not limited.
    fn maxsize(&self) -> usize;

    /// How many items were ever pushed.
    fn n_pushed(&self) -> u64;
}
