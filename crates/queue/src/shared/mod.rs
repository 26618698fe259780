//! Queues of messages between the processes of a family, in its heap.
//!
//! ```
//! use manyhands_queue::shared::SharedQueue;
//! use manyhands_shm::message::{Body, Message};
//! use manyhands_shm::{Carried, family};
//!
//! let heap = family::heap()?;
//! let orders = SharedQueue::create(&heap, 10)?;
//! let message = Message { body: Body::Inline(b"rice"), carried: Carried::default() };
//! orders.put(message).unwrap();
//! // In another process of the family: SharedQueue::open(handle).
//! let there = SharedQueue::open(orders.handle()).unwrap();
//! assert_eq!(&*there.get().unwrap().bytes, b"rice");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Guarantees:
//! - Every message that was put is got once, in the order of each putter. A process that is killed,
//!   at any instruction, takes along at most the messages that it was just putting or getting.
//! - Nothing waits for a dead process: who comes next mends what it left, by the notes it made.
//! - No thread works behind the scenes: what was put is there when `put` returns.
//! - A put that meets no sleeping getter makes no system call, and the other way round.
//! - A put that finds no memory says so, and nothing has changed.
//! - With the last reference the queue gives everything back, also what nobody got.
//!
//! What it does not do: a process that is *stopped* while it has one side makes the others wait; a
//! queue that contains itself lives as long as the family.
//!
//! The steps, and what a death after each of them leaves: `README.md` beside this file.

mod get;
mod layout;
mod put;
mod queue;
mod wait;

pub use queue::{NotGot, NotPut, QUEUE, SharedQueue, SharedStatistics};

/// A place in a line of threads of any process.
pub type SharedEnlisted<'line> = crate::Enlisted<'line, manyhands_sys::futex::Shared>;
