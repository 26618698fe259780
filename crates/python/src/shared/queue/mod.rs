//! `SharedQueueCore`: the compiled part of `multiprocessing`'s `Queue`, `JoinableQueue` and
//! `SimpleQueue`.
//!
//! An item is packed before anything else, so that what cannot be pickled raises where it is put;
//! it is unpacked after it was taken out. No lock is held while Python code runs, and none is
//! waited for longer than a moment with the GIL.

pub mod core;
mod item;
mod methods;
mod refusals;
mod wait;
