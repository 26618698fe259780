//! First in, first out: a ring where the limit is small enough to reserve the room for it, a
//! locked deque where it is large or absent.

use std::collections::VecDeque;

use crate::locked::Locked;
use crate::order::Arrival;
use crate::outcome::{Nothing, Refused};
use crate::ring::Ring;
use crate::store::Store;

/// The largest limit for which the room is reserved at once.
const N_MAX_RESERVED: usize = 1 << 16;

/// The store of a [`Queue`](crate::Queue) that nobody said more about.
pub struct Fifo<T>(Kind<T>);

// A box would cost every call a cache line; queues are few.
#[allow(clippy::large_enum_variant)]
enum Kind<T> {
    Ring(Ring<T>),
    Deque(Locked<T, Arrival<T>>),
}

impl<T: Send> Fifo<T> {
    /// A store for `maxsize` items; zero sets no limit.
    pub fn new(maxsize: usize) -> Self {
        Self(match maxsize {
            1..=N_MAX_RESERVED => Kind::Ring(Ring::new(maxsize)),
            _ => Kind::Deque(Locked::new(Arrival::default(), maxsize)),
        })
    }
}

macro_rules! delegate {
    ($self:ident, $store:ident => $call:expr) => {
        match &$self.0 {
            Kind::Ring($store) => $call,
            Kind::Deque($store) => $call,
        }
    };
}

impl<T: Send> Store<T> for Fifo<T> {
    #[inline]
    fn push(&self, item: T) -> Result<(), Refused<T>> {
        delegate!(self, store => store.push(item))
    }

    #[inline]
    fn pop(&self) -> Result<T, Nothing> {
        delegate!(self, store => store.pop())
    }

    fn push_many(&self, items: &mut VecDeque<T>) -> Result<usize, usize> {
        delegate!(self, store => store.push_many(items))
    }

    fn pop_many(&self, n_max: usize, items: &mut Vec<T>) -> usize {
        delegate!(self, store => store.pop_many(n_max, items))
    }

    fn close(&self) -> bool {
        delegate!(self, store => store.close())
    }

    fn is_closed(&self) -> bool {
        delegate!(self, store => store.is_closed())
    }

    fn len(&self) -> usize {
        delegate!(self, store => store.len())
    }

    fn maxsize(&self) -> usize {
        delegate!(self, store => store.maxsize())
    }

    fn n_pushed(&self) -> u64 {
        delegate!(self, store => store.n_pushed())
    }
}
