//! Primitives that processes share: what lies in shared memory, and how one waits for it.
//!
//! The states, and what a death leaves at each step, are in the README beside this file.
//!
//! Guarantees: all of it is atomics at fixed places, and zeros are a valid beginning, so it may lie
//! in memory that several processes map; a process killed at any instruction leaves nothing that
//! the others wait for in vain, except what only it could have given (a permit, a set event).
//!
//! What it does not do: it knows no heap and no Python. Who maps it says who is alive ([`Parties`])
//! and where the tables of long waits are ([`Family`]).
//!
//! [`Parties`]: crate::robust::Parties
//! [`Family`]: waits::Family

#[cfg(not(loom))]
pub mod barrier;
#[cfg(not(loom))]
pub mod condition;
#[cfg(not(loom))]
pub mod cycle;
#[cfg(not(loom))]
pub mod lock;
#[cfg(not(loom))]
pub mod semaphore;
#[cfg(not(loom))]
pub mod waiting;
#[cfg(not(loom))]
pub mod waits;
pub mod word;
