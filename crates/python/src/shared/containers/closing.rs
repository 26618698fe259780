//! Closing a managed container to all others: for a block of Python, or for one operation that
//! finds it closed.
//!
//! The gate is a lock like those that processes share, so whoever waits for it is told of a
//! deadlock. What the calling thread has closed, and where, is written down for the report.
//!
//! What it does not do: forget what a thread has closed that ends without opening it. It stays
//! closed, as a lock would stay locked.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use manyhands_collections::{Container, Contents};
use manyhands_shm::FamilyOf;
use manyhands_sync::robust::Owner;
use manyhands_sync::shared::waiting::Waiting;
use manyhands_sync::shared::waits::Family;
use manyhands_sys::clock::Deadline;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::inside;
use crate::interrupt;
use crate::shared::locks::waiting::{Awaited, block_for_lock};
use crate::sync::site::Acquired;

/// A container that is closed to all others, until this is dropped.
pub(super) struct Closed<'a, C: Contents>(&'a Container<C>);

/// What the calling thread has closed.
struct Closing {
    lock_at: u64,
    what: &'static str,
    /// Not dropped at the end of a thread, when no code may be given back any more.
    at: ManuallyDrop<Acquired>,
}

thread_local! {
    static CLOSED_HERE: RefCell<Vec<Closing>> = const { RefCell::new(Vec::new()) };
}

impl<'a, C: Contents> Closed<'a, C> {
    /// Closes the gate, once more if it is the caller's already; `None`: not until the deadline.
    ///
    /// # Errors
    /// What a signal handler raises or this thread is being stopped with; DeadlockError;
    /// OverflowError if it is closed as often as can be counted.
    pub(super) fn new(
        py: Python<'_>,
        container: &'a Container<C>,
        deadline: Option<Deadline>,
    ) -> PyResult<Option<Self>> {
        let is_closed =
            container.gate().try_close(container.object().heap()).map_err(crate::sync::overflow)?;
        if !is_closed && !Self::wait(py, container, deadline)? {
            return Ok(None);
        }
        note(py, container);
        Ok(Some(Self(container)))
    }

    fn wait(
        py: Python<'_>,
        container: &Container<C>,
        deadline: Option<Deadline>,
    ) -> PyResult<bool> {
        let (family, gate) = (FamilyOf(Arc::clone(container.object().heap())), container.gate());
        let in_words = || in_words(C::kind().name(), family.offset_of(gate.lock()));
        let awaited = Awaited { family: &family, state: gate.lock(), in_words: &in_words };
        block_for_lock(py, &awaited, deadline, |waiting: &mut Waiting<'_>| gate.close_slow(waiting))
    }

    /// It stays closed until [`open_gate`].
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl<C: Contents> Drop for Closed<'_, C> {
    fn drop(&mut self) {
        reopen(self.0);
    }
}

/// Closes the container to all others, waiting until `timeout` seconds have passed. `None`: they
/// have.
///
/// # Errors
/// What a signal handler raises or this thread is being stopped with (then it is not closed), a
/// timeout that is no number, DeadlockError, OverflowError.
pub(super) fn close<'a, C: Contents>(
    py: Python<'_>,
    container: &'a Container<C>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Closed<'a, C>>> {
    let deadline = interrupt::deadline_of(timeout)?;
    let Some(closed) = Closed::new(py, container, deadline)? else { return Ok(None) };
    // Whoever was inside already is waited for: from here on nobody else is.
    inside(py, container, |_| ())?;
    Ok(Some(closed))
}

/// As [`close`], until [`open_gate`]; false if time is over.
pub(super) fn close_gate<C: Contents>(
    py: Python<'_>,
    container: &Container<C>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<bool> {
    let closed = close(py, container, timeout)?;
    Ok(closed.map(Closed::keep).is_some())
}

/// Takes back one closing.
///
/// # Errors
/// RuntimeError: this thread has not closed it.
pub(super) fn open_gate<C: Contents>(container: &Container<C>) -> PyResult<()> {
    if reopen(container) {
        return Ok(());
    }
    let text = format!("this thread does not hold the lock of the {}", C::kind().name());
    Err(PyRuntimeError::new_err(text))
}

/// Takes back one closing. False: the calling thread has not closed it.
fn reopen<C: Contents>(container: &Container<C>) -> bool {
    let is_mine = container.gate().is_mine(container.object().heap());
    if is_mine {
        // First, as it may be the last moment at which the container is ours.
        forget(lock_at(container));
        container.gate().open(container.object().heap());
    }
    is_mine
}

/// The containers that `me`, the calling thread, has closed: where their locks lie, what they are,
/// where they were closed.
pub(in crate::shared) fn closed_here(family: &FamilyOf, me: Owner) -> Vec<(u64, String, String)> {
    let closing_in_words = |closing: &Closing| {
        let at = closing.lock_at;
        family.lock_at(at).filter(|lock| lock.is_of(me))?;
        Some((at, in_words(closing.what, at), closing.at.site().to_string()))
    };
    let list = |closed: &RefCell<Vec<Closing>>| {
        closed.borrow().iter().filter_map(closing_in_words).collect()
    };
    CLOSED_HERE.try_with(list).unwrap_or_default()
}

fn note<C: Contents>(py: Python<'_>, container: &Container<C>) {
    let at = ManuallyDrop::new(Acquired::new());
    at.note(py);
    let closing = Closing { lock_at: lock_at(container), what: C::kind().name(), at };
    // A thread that is about to end has no list any more: its reports say less.
    let _ = CLOSED_HERE.try_with(|closed| closed.borrow_mut().push(closing));
}

fn forget(lock_at: u64) {
    let take = |closed: &RefCell<Vec<Closing>>| {
        let mut closed = closed.borrow_mut();
        let idx = closed.iter().rposition(|closing| closing.lock_at == lock_at)?;
        Some(closed.remove(idx))
    };
    if let Ok(Some(closing)) = CLOSED_HERE.try_with(take) {
        // Outside of the list: giving code back may run anything.
        drop(ManuallyDrop::into_inner(closing.at));
    }
}

fn lock_at<C: Contents>(container: &Container<C>) -> u64 {
    FamilyOf(Arc::clone(container.object().heap())).offset_of(container.gate().lock())
}

fn in_words(what: &str, lock_at: u64) -> String {
    format!("{what} {lock_at:#x}")
}
