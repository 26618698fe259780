//! Queues between threads: in order of arrival, last in first out, by priority. Pipes between
//! processes are in [`pipe`].
//!
//! ```
//! use manyhands_queue::Queue;
//!
//! let orders = Queue::bounded(10);
//! std::thread::scope(|scope| {
//!     scope.spawn(|| {
//!         for table in 1..=3 {
//!             orders.put(table).unwrap();
//!         }
//!         orders.shutdown(false); // Nobody waits for a fourth order for ever.
//!     });
//!     assert_eq!(orders.iter().collect::<Vec<_>>(), [1, 2, 3]);
//! });
//! ```
//!
//! Guarantees:
//! - Every item that was put is got exactly once, or dropped by an immediate shutdown or with the
//!   queue. A put that does not succeed gives its item back.
//! - After [`Queue::shutdown`] has returned no put succeeds, and a get that finds nothing says so
//!   at once, also one that is asleep.
//! - A put that meets no waiting getter makes no system call, and the other way round.
//! - No code of the item's type runs under a lock, except the comparisons of a [`PriorityQueue`].
//! - A wait without a deadline that nobody is left to end panics, or is reported, as
//!   [`manyhands_sync::deadlock`] says.
//!
//! Built of: a store of the items ([`Ring`], which takes no lock, or [`Locked`], which does) and
//! three lines of sleepers (getters, putters, joiners).
//!
//! Queues between processes are in [`shared`].
//!
//! What it does not do: a [`Queue`] lives in one process; whoever comes first takes an item, so
//! that a thread that has waited long may be overtaken by one that has not.

mod fifo;
mod line;
mod locked;
#[cfg(all(test, loom))]
mod model;
mod order;
mod outcome;
pub mod pipe;
mod queue;
mod ring;
#[cfg(not(loom))]
pub mod shared;
mod stamp;
mod store;

pub use fifo::Fifo;
pub use line::Enlisted;
pub use locked::{Locked, State};
pub use manyhands_sys::clock::Deadline;
pub use order::{Arrival, LastFirst, Order, SmallestFirst};
pub use outcome::{Nothing, Refused, ShutDown, TooManyDone};
pub use queue::{Iter, LifoQueue, PriorityQueue, Queue, Statistics};
pub use ring::Ring;
pub use store::Store;
