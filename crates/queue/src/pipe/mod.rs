//! Pipes between the processes of a family: messages of bytes, in both directions or in one.
//!
//! Guarantees:
//! - Messages arrive whole, once, and in the order in which each sender sent them. Any number of
//!   threads and processes may share an end.
//! - Bounded: a message that has no room waits until the other side reads.
//! - No system call while the other side is awake.
//! - A process may be killed at any instruction: the others go on, and at most the message that it
//!   was sending or receiving is lost, whole.
//! - When nobody has an end any more the other one reads what was sent and then the end of file,
//!   and sends no more.
//!
//! What it does not do: wake the receiver of a message before others that wait (whoever comes first
//! takes it), or carry file descriptors.
//!
//! The protocol, step by step, is in `README.md` beside this file.

#[cfg(not(loom))]
mod blocking;
#[cfg(not(loom))]
mod end;
#[cfg(not(loom))]
mod layout;
#[cfg(not(loom))]
mod patience;
#[cfg(not(loom))]
mod receiving;
#[cfg(not(loom))]
mod sending;
#[cfg(not(loom))]
mod socket_pair;
#[cfg(not(loom))]
mod turn;
#[cfg(not(loom))]
mod watch;

#[cfg(not(loom))]
pub use blocking::{NoMessage, NotSent, Received};
#[cfg(not(loom))]
pub use end::{End, KINDS};
#[cfg(not(loom))]
pub use receiving::{Found, Receiving};
#[cfg(not(loom))]
pub use sending::{BrokenPipe, Sending};
#[cfg(not(loom))]
pub use socket_pair::{forget_after_fork, linger};
#[cfg(not(loom))]
pub use watch::Watch;
