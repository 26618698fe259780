//! What this process does when it forks: each part of the extension that a fork concerns is told.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::contract;

/// Lets every child that this process forks run [`after_fork_in_child`].
pub fn hook_into(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let hooks = PyDict::new(module.py());
    hooks.set_item("before", wrap_pyfunction!(before_fork, module)?)?;
    hooks.set_item("after_in_parent", wrap_pyfunction!(after_fork_in_parent, module)?)?;
    hooks.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, module)?)?;
    contract::REGISTER_AT_FORK.get(module.py())?.call((), Some(&hooks))?;
    Ok(())
}

/// The child is to be of our family, with references of its own to what we share.
#[pyfunction]
fn before_fork() {
    manyhands_shm::family::before_fork();
}

#[pyfunction]
fn after_fork_in_parent() {
    manyhands_shm::family::after_fork_in_parent();
}

/// What belongs to the process that was forked is not this one's, except what is shared.
#[pyfunction]
fn after_fork_in_child() {
    manyhands_shm::family::after_fork_in_child();
    crate::fork::begin_generation();
    crate::dispatcher::forget_after_fork();
    crate::process::forget_after_fork();
    manyhands_pool::threads::forget_after_fork();
    crate::shared::locks::local_lock::forget_after_fork();
    manyhands_queue::pipe::forget_after_fork();
}
