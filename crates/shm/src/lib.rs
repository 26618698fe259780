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
//! # What takes `unsafe`
//!
//! Safe code cannot reach bytes of the heap that others use, whatever numbers it makes up. Whatever
//! relies on its caller for that says so:
//!
//! ```compile_fail,E0133
//! # use manyhands_shm::{BlockRef, Party, family};
//! # let heap = family::heap().unwrap();
//! // A block that others use, as this one's own.
//! heap.take_over(BlockRef { offset: 1 << 20, len: 64 }, Party::FAMILY);
//! ```
//! ```compile_fail,E0133
//! # let heap = manyhands_shm::family::heap().unwrap();
//! // The blocks of one that lives, given back.
//! heap.bury(heap.new_party().unwrap());
//! ```
//! ```compile_fail,E0133
//! # use manyhands_shm::{Carried, Handle, family};
//! # fn of(handles: &[Handle]) {
//! // References that are somebody else's.
//! Carried::from_message(&family::heap().unwrap(), handles);
//! # }
//! ```
//! ```compile_fail,E0133
//! # use manyhands_shm::{Handle, family, object};
//! # fn of(handles: &[Handle]) {
//! object::release_message(&family::heap().unwrap(), handles);
//! # }
//! ```
//! ```compile_fail,E0133
//! # use manyhands_shm::{Object, family, locks, object::Shape};
//! // Bytes that are not what every user of the kind relies on.
//! Object::create(&family::heap().unwrap(), &locks::BARRIER, Shape::NONE, 8);
//! ```
//! ```compile_fail,E0133
//! # use manyhands_shm::{Kind, object::ids};
//! // What the end of other objects would run.
//! Kind::new(ids::QUEUE, "queue", |_, _| true, |_, _, _| {});
//! ```
//! ```compile_fail,E0133
//! # use manyhands_shm::{Heap, Party};
//! # fn with(file: std::fs::File) {
//! // A file that somebody cuts off, or writes to.
//! Heap::attach(file.into(), Party::from_number(7));
//! # }
//! ```
//!
//! The protocol, state by state, is in `README.md` beside this file.

mod alloc;
mod block;
mod budget;
pub mod cell;
mod charge;
pub mod family;
mod heap;
mod layout;
mod local;
pub mod locks;
mod members;
pub mod message;
pub mod object;
mod out_of_memory;
mod party;
mod search;
mod size;
mod sweep;
mod waits;
mod warm;

pub use block::{Block, Place, Ticket};
pub use cell::{Memory, Shared, SharedSlice};
pub use heap::{Heap, HeapConfig};
pub use layout::BlockRef;
pub use object::{Carried, Handle, Kind, Object, OpenError};
pub use out_of_memory::OutOfMemory;
pub use party::Party;
pub use sweep::Swept;
pub use waits::FamilyOf;
