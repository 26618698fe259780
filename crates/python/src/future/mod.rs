//! `FutureCore`: everything that is fast, or must be exact, in `manyhands.Future`.
//!
//! Three kinds share the class: *manual* futures, made and settled by the program; *local* ones,
//! tasks of a thread pool; *remote* ones, tasks of a [`Backend`] that another process works for.
//! All state is a [`Completion`] and two object pointers; `result()` of a finished future takes no
//! lock and never sleeps.
//!
//! Guarantees: what `concurrent.futures.Future` promises; callbacks run exactly once, waiters of
//! the standard `wait`/`as_completed` before them; what a task was called with is freed when its
//! body ends or it is cancelled, not when the future is.

mod core;
pub mod local;
mod manual;
mod methods;
mod observers;
mod remote;

pub use core::{FutureCore, Kind, create, set_class};
pub use local::help;
pub use remote::Backend;
