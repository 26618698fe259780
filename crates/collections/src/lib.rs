//! A map and a list that all processes of a family share: bytes to bytes, in the family heap.
//!
//! Guarantees:
//! - **Killable at any instruction.** Every change becomes visible by one store; who dies before it
//!   has changed nothing, who dies after it has changed everything. What is only derived (the index
//!   of a map, the lists of free records) is made anew by whoever gets the lock next.
//! - Values may name shared objects ([`Carried`](manyhands_shm::Carried)): the container counts as
//!   a holder of each, until the value is replaced or removed or the container ends.
//! - A shortage of memory is an error, and the container is as it was.
//!
//! What it does not do: know what the bytes mean; let readers in beside a writer (a lock is held
//! for the few hundred nanoseconds of a look-up, and as long as it takes to copy a snapshot).
//!
//! The protocol, step by step, is in `README.md` beside this file.

mod container;
mod core;
mod gate;
mod hash;
mod kinds;
mod list;
mod map;
mod record;
mod table;

pub use crate::container::{Container, Contents};
pub use crate::core::{Busy, How};
pub use crate::gate::Gate;
pub use crate::kinds::KINDS;
pub use crate::list::{List, ListGuard, SharedList};
pub use crate::map::{Key, Map, MapGuard, SharedMap};
pub use crate::record::{Draft, Value};
