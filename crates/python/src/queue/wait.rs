//! Waiting at a queue: for an item, for room, or for the end of work.

use manyhands_queue::Enlisted;
use manyhands_sync::deadlock::{Description, EndedBy, Resource};
use manyhands_sys::clock::Deadline;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::interrupt::deadline_of;
use crate::sync::blocking::block;

/// What came of one attempt that does not wait.
pub enum Attempt<T> {
    /// It succeeded.
    Done(T),
    /// Not yet.
    NotYet,
    /// It never will: the queue is shut down, or Python code took it over.
    Closed,
}

/// What came of a wait.
pub enum End<T> {
    /// It succeeded.
    Done(T),
    /// The deadline came first.
    TimedOut,
    /// As [`Attempt::Closed`].
    Closed,
}

/// What a report says about a wait.
pub struct Place<'a> {
    /// `"Queue"`, `"LifoQueue"`, …
    pub kind: &'static str,
    /// The name its maker gave it.
    pub name: Option<&'a str>,
    /// Tells it from others.
    pub id: usize,
}

/// A wait under way.
struct Wait<'a> {
    place: &'a Place<'a>,
    enlisted: &'a Enlisted<'a>,
}

/// Tries until `attempt` succeeds or `deadline`, asleep in the line of `enlist` in between.
///
/// # Errors
/// What `attempt` raised, or what ended the sleep.
#[cold]
pub fn until<'line, T>(
    py: Python<'_>,
    place: &Place<'_>,
    deadline: Option<Deadline>,
    enlist: impl Fn() -> Enlisted<'line>,
    mut attempt: impl FnMut() -> PyResult<Attempt<T>>,
) -> PyResult<End<T>> {
    loop {
        let enlisted = enlist();
        // Whoever changed something before it saw this place in the line calls nobody.
        match attempt()? {
            Attempt::Done(value) => {
                enlisted.leave();
                return Ok(End::Done(value));
            }
            Attempt::Closed => return Ok(End::Closed),
            Attempt::NotYet => {}
        }
        let wait = Wait { place, enlisted: &enlisted };
        // An exception drops the place, which passes a call on to another sleeper.
        let is_in_time = block(py, &wait, deadline, false, |deadline, waiting| {
            enlisted.sleep(deadline, waiting)
        })?;
        enlisted.leave();
        match attempt()? {
            Attempt::Done(value) => return Ok(End::Done(value)),
            Attempt::Closed => return Ok(End::Closed),
            Attempt::NotYet if !is_in_time => return Ok(End::TimedOut),
            Attempt::NotYet => {}
        }
    }
}

/// The deadline of a call with `block` and `timeout` in seconds; `None`: do not wait.
///
/// # Errors
/// ValueError if the timeout is negative or not-a-number, TypeError if it is no number.
pub fn deadline_of_call(
    block: Option<&Bound<'_, PyAny>>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Option<Deadline>>> {
    if let Some(block) = block
        && !block.is_truthy()?
    {
        return Ok(None);
    }
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else { return Ok(Some(None)) };
    if timeout.lt(0)? {
        return Err(PyValueError::new_err("'timeout' must be a non-negative number"));
    }
    deadline_of(Some(timeout)).map(Some)
}

impl Resource for Wait<'_> {
    fn describe(&self) -> Description {
        let Place { kind, name, id } = *self.place;
        Description { kind, name: name.map(ToOwned::to_owned), id }
    }

    fn ended_by(&self) -> EndedBy {
        // Takes no lock: another thread asks, at any time.
        if self.enlisted.has_moved() { EndedBy::Nobody } else { EndedBy::Anyone }
    }
}
