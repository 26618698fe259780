//! Finding out that a wait will never end.
//!
//! Threads that have waited for a while without a deadline are entered in a registry, each with
//! what it waits for. A primitive says who could end the wait ([`EndedBy`]). From that follow two
//! proofs:
//!
//! - **A cycle**: each thread waits for something that only the next one can end. Nobody else
//!   matters, so it holds whatever other threads do.
//! - **Everyone is asleep**: no thread of the process can run by itself. The kernel is asked twice
//!   what each thread does; equal answers mean that none ran in between (`manyhands-sys::census`).
//!
//! No false alarm is the first rule:
//! - A wait with a deadline is never entered, nor counted as asleep.
//! - Whether only its owner will release a lock is known for reentrant locks, for locks held by a
//!   block, and for locks that were released before, always by their owner. A lock that was ever
//!   released by another thread is ended by anybody. One that was never released could be either: a
//!   cycle over such locks is proven only when everyone is asleep. While some thread runs it is a
//!   suspicion, which is printed and never raised.
//! - Foreign threads, I/O, other processes, signal handlers: see [`set_hooks`] and the census.
//! - Each proof is made twice, and holds only if the same waits are still under way.

mod graph;
mod mode;
mod registry;
mod report;

use std::panic::Location;
use std::sync::OnceLock;

pub use mode::{MODE_VARIABLE, Mode, UnknownMode, mode, set_mode, set_mode_from_environment};
pub use registry::{Entry, enter, explain, is_stuck, n_waiting, witness};
pub use report::{Deadlock, Kind, StuckThread, Thing};

/// What threads wait for.
pub trait Resource: Sync {
    /// What it is. Called by other threads: must not wait for anything.
    fn describe(&self) -> Description;

    /// Who could end a wait for it now.
    fn ended_by(&self) -> EndedBy;
}

/// A primitive in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `"Lock"`, `"Queue"`, …
    pub kind: &'static str,
    /// The name its maker gave it.
    pub name: Option<String>,
    /// Tells it from others without a name.
    pub id: usize,
}

/// Who could end a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The thread that holds it.
    Owner {
        /// Its number.
        thread: u32,
        /// Whether nobody else would.
        certainty: Certainty,
        /// Where it was acquired.
        acquired_at: Site,
    },
    /// The end of a thread.
    EndOf(u32),
    /// Any thread that runs.
    Anyone,
    /// Another process too: nothing here proves that the wait will last.
    OtherProcess,
    /// It is free: the wait is about to end.
    Nobody,
}

/// How sure it is that only the owner ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Others have done it before.
    Unsure,
    /// Nobody has done it yet.
    Likely,
    /// The owner's block does it, or the owner always did.
    Sure,
}

/// A place in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// Not recorded.
    Unknown,
    /// In Rust.
    Rust(&'static Location<'static>),
    /// Somewhere else: the hooks know how to read it while the wait is under way.
    Foreign {
        /// The address of something that describes code.
        code: usize,
        /// Where in it.
        at: i32,
    },
}

/// What the layers above know.
pub struct Hooks {
    /// Where [`Site::Foreign`] is, as `file:line`. Called while its wait is under way.
    pub locate: fn(code: usize, at: i32) -> String,
    /// Whether a signal could make the main thread run code that ends waits.
    pub main_may_be_signalled: fn() -> bool,
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Tells what the layers above know; once.
pub fn set_hooks(hooks: Hooks) {
    let _ = HOOKS.set(hooks);
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("an unknown place"),
            Self::Rust(location) => write!(f, "{}:{}", location.file(), location.line()),
            Self::Foreign { code, at } => match HOOKS.get() {
                Some(hooks) => f.write_str(&(hooks.locate)(*code, *at)),
                None => f.write_str("an unknown place"),
            },
        }
    }
}
