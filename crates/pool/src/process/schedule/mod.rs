//! The scheduler of a process pool: a state machine over surroundings that it is given.
//!
//! It knows tasks, workers and lanes; it owns no thread and no lock, starts nothing by itself and
//! reads no clock but its [`Environment`]'s. The pool keeps it under one lock: submitters, those
//! who cancel, and the collector call it in turn.
//!
//! ```text
//! turn        one look of the collector at everything
//!   │ calls
//!   ├─ hand_out   who gets which task, what moves       ├─ deaths    launches that fail, workers
//!   │    └─ launching  starting a worker                │            that are gone
//!   ├─ stopping   cancels, timeouts, graces             ├─ closing   how a pool ends
//!   └─ replies    what workers have said: also called by deaths
//!        └─ set_aside  who is stopped (SIGSTOP): also called by turn and hand_out
//!             │ change
//!             ▼
//! state       who the workers are, what waits, counts
//!   └─ root_worker  one worker, its lane, the tasks in it
//!        └─ environment, silence, growth, counts: know none of the others
//! ```
//!
//! Arrows only point down: in the `use` lines, and in who calls whom. Outside of this folder the
//! scheduler knows `task.rs` and `lane.rs`; it knows nothing of the pool that keeps it.
//!
//! What it does not do: it ends no future and runs no code of the program. It hands out
//! [`Finished`](super::task::Finished) and [`Ending`](crate::completion::Ending)s, which the caller
//! tells once it has let go of the lock.

mod closing;
mod counts;
mod deaths;
mod environment;
mod growth;
mod hand_out;
mod launching;
mod replies;
mod root_worker;
mod set_aside;
mod silence;
mod state;
mod stopping;
mod turn;

#[cfg(test)]
mod tests;

pub use counts::{PoolCounts, WorkerInfo};
pub(super) use environment::{Environment, Process};
pub(super) use silence::SILENT_NS;
pub(super) use state::Schedule;
pub use state::SubmitError;
pub(super) use turn::Turn;
