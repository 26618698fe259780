//! Waiting at a shared queue: for an item, for room, or for the end of work.
//!
//! Another process may always end such a wait, so none is ever said to be a deadlock.

use manyhands_queue::shared::{SharedEnlisted, SharedQueue};
use manyhands_sync::spin::{FOR_AN_ANSWER, soon};
use manyhands_sys::clock::Deadline;
use pyo3::prelude::*;

use crate::interrupt::deadline_of;
use crate::sync::blocking::block;

/// Tries, detached, until `attempt` has an answer; asleep in the line of `enlist` in between.
/// `None`: `deadline` came first.
///
/// # Errors
/// What ended the sleep: a signal handler's exception, the one this thread is being stopped with.
#[cold]
pub fn until<'line, T: Send>(
    py: Python<'_>,
    queue: &SharedQueue,
    deadline: Option<Deadline>,
    enlist: impl Fn() -> SharedEnlisted<'line> + Sync,
    mut attempt: impl FnMut() -> Option<T> + Send,
) -> PyResult<Option<T>> {
    loop {
        // Who is in the middle of a burst is back in a moment, and then needs no system call.
        let (answer, enlisted) = py.detach(|| {
            if let Some(answer) = attempt().or_else(|| soon(FOR_AN_ANSWER, &mut attempt)) {
                return (Some(answer), None);
            }
            let enlisted = enlist();
            // Whoever changed something before it saw this place in the line calls nobody.
            let answer = attempt();
            (answer, Some(enlisted))
        });
        if let Some(answer) = answer {
            if let Some(enlisted) = enlisted {
                enlisted.leave();
            }
            return Ok(Some(answer));
        }
        let Some(enlisted) = enlisted else { continue };
        // An exception drops the place, which passes a call on to another sleeper.
        let is_in_time = block(py, queue, deadline, false, |deadline, waiting| {
            enlisted.sleep(deadline, waiting)
        })?;
        enlisted.leave();
        if let Some(answer) = attempt() {
            return Ok(Some(answer));
        }
        if !is_in_time {
            return Ok(None);
        }
    }
}

/// The deadline of a call with `block` and `timeout` in seconds; `None`: do not wait. A negative
/// timeout has passed, as in the standard module.
///
/// # Errors
/// TypeError if the timeout is no number, ValueError if it is not-a-number.
pub fn deadline_of_call(
    block: Option<&Bound<'_, PyAny>>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Option<Deadline>>> {
    if let Some(block) = block
        && !block.is_truthy()?
    {
        return Ok(None);
    }
    deadline_of(timeout).map(Some)
}
