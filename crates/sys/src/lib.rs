//! The only crate of manyhands that makes system calls.
//!
//! Every module wraps one kernel facility behind a small safe contract, with owned descriptors at
//! each boundary. All descriptors made here are close-on-exec. Linux only: elsewhere the crate is
//! a plain compile error.
//!
//! What it does not do: no policy, no retry loops beyond `EINTR`, no global state.

#[cfg(not(target_os = "linux"))]
compile_error!("manyhands runs on Linux only for now: it needs memfd, pidfd and futex");

pub mod atomic;
pub mod broker;
mod capabilities;
pub mod census;
mod cgroup;
pub mod clock;
pub mod descriptor;
pub mod event;
pub mod fork;
pub mod futex;
pub mod lifeline;
pub mod machine;
pub mod memory;
pub mod per_fork;
pub mod per_process;
pub mod pid;
mod proc_dir;
mod proc_status;
mod refused;
pub mod rights;
pub mod settings;
pub mod socket;
pub mod spawn;
pub mod thread;
pub mod thread_id;
mod unnamed;
pub mod windows;
