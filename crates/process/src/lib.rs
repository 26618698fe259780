//! Child processes: started, watched to their end, and never mistaken for another.
//!
//! - [`Launcher`]: one way to get a child, by a fresh program ([`Program`]) or by a fork of a
//!   *template* process ([`TemplateUse`]).
//! - [`Child`]: one child for a caller that waits for it.
//! - The supervisor (one thread per process that has children, gone when they are) learns of every
//!   death by pidfd and tells the owner through [`Events`].
//! - [`serve::TemplateServer`] is the template's side, [`watch::exit_with`] the child's side of the
//!   promise that no child outlives its root.
//!
//! What it does not do: it knows nothing of pools, tasks or interpreters.

pub mod serve;
pub mod watch;

mod child;
mod launch;
mod message;
mod state;
mod supervisor;
mod template;

pub use child::{Child, Fate};
pub use launch::{ChildId, Event, Events, Launcher, OutlivingProgram, Program};
pub use message::{Launch, receive_launch};
pub use state::ProgramState;
pub use supervisor::{forget_after_fork, stop_templates};
pub use template::{TemplateStart, TemplateUse};
