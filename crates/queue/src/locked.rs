//! A store of any order and any size, under one mutex.
//!
//! Guarantees: the mutex is held for the push or pop of a collection and never while anything
//! waits, so whoever comes to it soon gets it; an item that is refused or taken is dropped, if at
//! all, after the mutex is free.

use std::collections::VecDeque;
use std::marker::PhantomData;

use manyhands_sys::atomic::{Mutex, MutexGuard};

use crate::order::Order;
use crate::outcome::{Nothing, Refused};
use crate::store::Store;

/// Items in the order `O`, at most `maxsize` of them.
pub struct Locked<T, O> {
    state: Mutex<State<O>>,
    items: PhantomData<fn(T) -> T>,
}

/// What the mutex guards.
#[derive(Debug)]
pub struct State<O> {
    /// The items.
    pub order: O,
    /// How many there may be; zero: no limit.
    pub maxsize: usize,
    /// How many there ever were.
    pub n_pushed: u64,
    /// Whether pushes are refused.
    pub is_closed: bool,
}

impl<T, O: Order<T>> Locked<T, O> {
    /// A store with the items that `order` holds; `maxsize` zero sets no limit.
    pub fn new(order: O, maxsize: usize) -> Self {
        let n_pushed = order.len() as u64;
        let state = State { order, maxsize, n_pushed, is_closed: false };
        Self { state: Mutex::new(state), items: PhantomData }
    }

    /// Calls `f` with everything, under the mutex: `f` may neither wait nor call back into this
    /// queue, and sees to it that items it removes are dropped after it has returned.
    ///
    /// A change that lets sleepers go on is not noticed by them: tell them with
    /// [`Queue::wake_all`](crate::Queue::wake_all).
    pub fn with<R>(&self, f: impl FnOnce(&mut State<O>) -> R) -> R {
        f(&mut self.lock())
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State<O>> {
        // What panics under the mutex (a comparison, an allocation) leaves a whole collection.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<O> State<O> {
    #[inline]
    fn is_full<T>(&self) -> bool
    where
        O: Order<T>,
    {
        self.maxsize > 0 && self.order.len() >= self.maxsize
    }
}

impl<T, O: Order<T>> Store<T> for Locked<T, O> {
    #[inline]
    fn push(&self, item: T) -> Result<(), Refused<T>> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::ShutDown(item));
        }
        if state.is_full() {
            return Err(Refused::Full(item));
        }
        state.n_pushed += 1;
        state.order.push(item);
        Ok(())
    }

    #[inline]
    fn pop(&self) -> Result<T, Nothing> {
        let mut state = self.lock();
        match state.order.pop() {
            Some(item) => Ok(item),
            None if state.is_closed => Err(Nothing::ShutDown),
            None => Err(Nothing::Empty),
        }
    }

    fn push_many(&self, items: &mut VecDeque<T>) -> Result<usize, usize> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(0);
        }
        let mut n_pushed = 0;
        while !state.is_full()
            && let Some(item) = items.pop_front()
        {
            state.n_pushed += 1;
            state.order.push(item);
            n_pushed += 1;
        }
        Ok(n_pushed)
    }

    fn pop_many(&self, n_max: usize, items: &mut Vec<T>) -> usize {
        let mut state = self.lock();
        let n_popped = n_max.min(state.order.len());
        items.extend((0..n_popped).map_while(|_| state.order.pop()));
        n_popped
    }

    fn close(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_closed, true)
    }

    fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn len(&self) -> usize {
        self.lock().order.len()
    }

    fn maxsize(&self) -> usize {
        self.lock().maxsize
    }

    fn n_pushed(&self) -> u64 {
        self.lock().n_pushed
    }
}
