//! Waiting without the GIL, in a way that Ctrl-C and a stopped task can end.
//!
//! Guarantees: the main thread runs Python's signal handlers as soon as a signal interrupts the
//! wait; a worker thread whose task is being stopped leaves the wait by the exception it is being
//! stopped with.
//!
//! A signal that arrives between the last look and the sleep interrupts nothing. The wait is
//! therefore cut into slices in the threads that somebody may want to interrupt: late by a slice
//! in a rare race, instead of never.

use std::time::Duration;

use manyhands_pool::completion::Wait;
use manyhands_sys::clock::Deadline;
use pyo3::prelude::*;

use crate::stopping;

const SLICE: Duration = Duration::from_millis(50);

/// Sleeps with `sleep` (called without the GIL) until it is done or `deadline`. False at the
/// deadline.
///
/// # Errors
/// What a signal handler raised, or the exception this thread's task is stopped with.
pub fn wait(
    py: Python<'_>,
    deadline: Option<Deadline>,
    sleep: impl Fn(Option<Deadline>) -> Wait + Sync,
) -> PyResult<bool> {
    let is_main = manyhands_sys::thread_id::is_main();
    let is_worker = stopping::is_worker();
    loop {
        // One attach a slice, and only where somebody may want to interrupt.
        let (end, was_slice) = py.detach(|| {
            let slice = (is_main || is_worker)
                .then(|| Deadline::after(SLICE))
                .filter(|slice| deadline.is_none_or(|deadline| *slice < deadline));
            (sleep(slice.or(deadline)), slice.is_some())
        });
        match end {
            Wait::Done => return Ok(true),
            Wait::TimedOut if !was_slice => return Ok(false),
            Wait::TimedOut | Wait::Interrupted => {}
        }
        py.check_signals()?;
        if is_worker {
            stopping::check_stopped(py)?;
        }
    }
}

/// The deadline `timeout` seconds from now. None, an infinity and more than the clock can count
/// never come; what is negative has come.
///
/// # Errors
/// TypeError if `timeout` is not a number, ValueError if it is not-a-number.
pub fn deadline_of(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Deadline>> {
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else { return Ok(None) };
    let seconds: f64 = timeout.extract()?;
    if seconds.is_nan() {
        return Err(pyo3::exceptions::PyValueError::new_err(
            "a timeout must be a number of seconds or None, not nan",
        ));
    }
    if seconds <= 0.0 {
        return Ok(Some(Deadline::NOW));
    }
    Ok(Duration::try_from_secs_f64(seconds).ok().map(Deadline::after))
}
