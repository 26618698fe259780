//! Waiting for a primitive without the GIL, in a way that Ctrl-C, a cancel and the insight that it
//! would last for ever can end.

use manyhands_sync::deadlock::{self, Deadlock, Hooks, Kind, Mode, Resource};
use manyhands_sync::sleep::{Wait, Waiting};
use manyhands_sys::clock::Deadline;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;

use super::site;
use crate::async_exception;
use crate::call::call;
use crate::contract;
use crate::{errors, stopping};

/// Calls `step` without the GIL until it is done (true) or timed out (false).
///
/// `step` gets the deadline to pass on. With `suspicious` the wait looks for a deadlock at once.
///
/// # Errors
/// What a signal handler raised, the exception this thread is being stopped with, or DeadlockError.
#[cold]
pub fn block(
    py: Python<'_>,
    resource: &dyn Resource,
    deadline: Option<Deadline>,
    suspicious: bool,
    mut step: impl FnMut(Option<Deadline>, &mut Waiting<'_>) -> Wait,
) -> PyResult<bool> {
    let is_worker = stopping::is_worker();
    let is_sliced = is_worker || manyhands_sys::thread_id::is_main();
    let mut waiting = Waiting::new(resource, site::here(py)).sliced(is_sliced);
    if deadline.is_some_and(Deadline::is_now) {
        return Ok(step(deadline, &mut waiting) == Wait::Done);
    }
    if suspicious && deadline.is_none() {
        waiting.look_now();
    }
    loop {
        let mut detached = OfThisThread((&mut waiting, &mut step));
        let wait = py.detach(move || {
            let OfThisThread((waiting, step)) = &mut detached;
            step(deadline, waiting)
        });
        match wait {
            Wait::Done => return Ok(true),
            Wait::TimedOut => return Ok(false),
            Wait::Interrupted => look_up(py, is_worker)?,
            Wait::Stuck => {
                let Some(found) = waiting.explain() else { continue };
                // The last word is the primitive's: it may have become free just now.
                if step(Some(Deadline::NOW), &mut waiting) == Wait::Done {
                    return Ok(true);
                }
                let is_suspected = found.kind == Kind::Suspected;
                if !is_suspected && deadlock::mode() == Mode::Raise {
                    return Err(deadlock_error(py, found));
                }
                report(py, found)?;
                if !is_suspected {
                    waiting.be_silent();
                }
            }
        }
    }
}

/// Something that stays in the thread that made it although a detached closure holds it.
struct OfThisThread<T>(T);

// SAFETY: `Python::detach` runs its closure in the calling thread.
unsafe impl<T> Send for OfThisThread<T> {}

/// Runs what wants to run in this thread: signal handlers, an exception it is being stopped with.
fn look_up(py: Python<'_>, is_worker: bool) -> PyResult<()> {
    py.check_signals()?;
    if is_worker {
        stopping::check_stopped(py)?;
    }
    async_exception::receive(py)
}

fn deadlock_error(py: Python<'_>, found: Deadlock) -> PyErr {
    errors::error_of(errors::deadlock_error(py), named(py, found).to_string())
}

fn report(py: Python<'_>, found: Deadlock) -> PyResult<()> {
    let text = named(py, found).to_string();
    let print = contract::PRINT_REPORT.get(py)?;
    call(print, &(text,).into_pyobject(py)?, None)?;
    Ok(())
}

/// With the names that `threading` knows.
fn named(py: Python<'_>, mut found: Deadlock) -> Deadlock {
    let names = || -> PyResult<std::collections::HashMap<u32, String>> {
        let names = contract::THREAD_NAMES.get(py)?;
        call(names, &pyo3::types::PyTuple::empty(py), None)?.extract()
    };
    // A report without names is better than none.
    let names = names().unwrap_or_default();
    found.name_threads(|thread| names.get(&thread).cloned());
    found
}

/// Makes reports speak of Python's lines, and keeps signal handlers in mind.
pub fn hook_into_deadlocks() {
    deadlock::set_hooks(Hooks { locate: site::locate, main_may_be_signalled });
    if let Err(error) = deadlock::set_mode_from_environment() {
        eprintln!("manyhands: {}: {error}", deadlock::MODE_VARIABLE);
    }
}

/// Called by an attached thread. In doubt yes: no report is better than a false one.
fn main_may_be_signalled() -> bool {
    Python::attach(|py| {
        let ask = || -> PyResult<bool> {
            let ask = contract::HANDLES_SIGNALS.get(py)?;
            call(ask, &pyo3::types::PyTuple::empty(py), None)?.extract()
        };
        ask().unwrap_or(true)
    })
}

/// Sets what happens when a deadlock is found: "raise", "report" or "off".
#[pyfunction]
pub fn set_deadlock_mode(mode: &str) -> PyResult<()> {
    deadlock::set_mode(
        mode.parse()
            .map_err(|error: deadlock::UnknownMode| PyValueError::new_err(error.to_string()))?,
    );
    Ok(())
}

/// What happens when a deadlock is found.
#[pyfunction]
pub fn deadlock_mode() -> &'static str {
    deadlock::mode().word()
}

/// The longest timeout of `acquire`, in seconds: what the standard module's is.
const TIMEOUT_MAX: f64 = (i64::MAX / 1_000_000_000) as f64;

/// The deadline of `acquire(blocking, timeout)`, where -1 means none. `Some(None)`: wait for ever;
/// `None`: do not wait.
pub fn acquire_deadline(
    blocking: bool,
    timeout: Option<f64>,
) -> PyResult<Option<Option<Deadline>>> {
    let timeout = timeout.unwrap_or(-1.0);
    if !blocking {
        if timeout != -1.0 {
            let text = "can't specify a timeout for a non-blocking call";
            return Err(PyValueError::new_err(text));
        }
        return Ok(None);
    }
    if timeout == -1.0 {
        return Ok(Some(None));
    }
    if timeout.is_nan() || timeout < 0.0 {
        return Err(PyValueError::new_err("timeout value must be a non-negative number"));
    }
    if timeout > TIMEOUT_MAX {
        return Err(PyOverflowError::new_err("timeout value is too large"));
    }
    Ok(Some(Some(Deadline::after(std::time::Duration::from_secs_f64(timeout)))))
}
