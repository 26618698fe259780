//! The queues of `manyhands.queue`.
//!
//! Items enter and leave a queue only in attached threads; a thread that waits detaches, sleeps,
//! attaches, and then looks again. So no thread holds an item that the garbage collector cannot
//! see while it counts references, and the store's mutex, which is never held across anything
//! that runs Python, is free at every `fork`.

pub mod core;
pub mod coroutines;
mod exposure;
mod heap;
mod items;
mod methods;
mod wait;
