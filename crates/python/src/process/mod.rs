//! The binding of the process pool: from Python calls to bytes in slots and back.
//!
//! - [`pool`]: the pyclass behind `ProcessPoolExecutor`; [`remote`] what its futures wait for;
//! - [`sent`]: a call on its way; [`codec`]: objects to bytes and back, [`simple`] for the
//!   simplest; [`buffer`]: memory of the heap as Python sees it; [`functions`] what is sent once,
//!   [`captured`] and when again;
//! - [`child`]: a process for its own sake, not a pool's; [`handle`]: one that is watched;
//! - [`essentials`]: what no task may take from the next one;
//! - [`launcher`]: where workers come from; [`template`] and [`worker`]: the other processes' side.

pub mod buffer;
pub mod captured;
pub mod child;
pub mod codec;
pub mod essentials;
pub mod functions;
pub mod handle;
pub mod launcher;
pub mod pool;
pub mod remote;
pub mod sent;
pub mod simple;
pub mod template;
pub mod worker;

/// In the child of a fork.
pub fn forget_after_fork() {
    pool::all_pools::forget_after_fork();
    manyhands_process::forget_after_fork();
}
