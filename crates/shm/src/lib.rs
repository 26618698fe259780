//! The family heap: one shared mapping per process family, with an allocator in it.
//!
//! A *family* is the process that first needs shared memory and all it starts through manyhands.
//! Each member is a [`Party`] with a number of its own. Everything shared lies in one anonymous,
//! sparse memory file at an *offset*, which means the same in every member.
//!
//! Guarantees:
//! - **Killable at any instruction.** Who holds a block is one word; taking, handing over and
//!   giving back a block are each one compare-and-swap on it. There is no shared lock and no list
//!   to leave half-linked. [`Heap::bury`] gives back what a dead party held.
//! - Nothing has a name: no entry in `/dev/shm`, nothing outlives the family.
//! - A shortage is an [`OutOfMemory`] where the block was asked for, never a SIGBUS later.
//! - Nothing is reserved: address space is taken in windows, when a process first reaches what lies
//!   there. A process that may map no more gets an [`OutOfMemory`] where it reaches something new.
//!
//! - **Objects** ([`Object`]) are blocks that several processes hold: counted, and ended with their
//!   last reference, whoever was killed meanwhile.
//!
//! - **Memory** ([`cell`]) is an object of numbers or bytes, with atomic operations on them.
//!
//! What it does not do: move blocks, or protect parties that write outside their blocks.
//!
//! The protocol, state by state, is in `README.md` beside this file.

mod alloc;
mod block;
mod budget;
pub mod cell;
pub mod family;
mod heap;
mod layout;
pub mod locks;
pub mod message;
pub mod object;
mod party;
mod search;
mod size;
mod sweep;
mod waits;
mod warm;

pub use block::{Block, BlockRef, Place, Ticket};
pub use cell::{Memory, Shared, SharedSlice};
pub use heap::{Heap, HeapConfig, OutOfMemory};
pub use object::{Carried, Handle, Kind, Object, OpenError};
pub use party::Party;
pub use sweep::Swept;
pub use waits::FamilyOf;
