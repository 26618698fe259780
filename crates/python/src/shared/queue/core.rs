//! What a queue between processes is made of, and its puts and gets.
//!
//! A put or a get is tried at once, with the GIL, for a moment; where that is not enough it goes on
//! without the GIL, and sleeps if its caller is willing to wait. What Python sees of it is in
//! `methods.rs`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use manyhands_queue::shared::{NotGot, NotPut, SharedQueue};
use manyhands_shm::message::{Message, Taken};
use manyhands_sys::clock::Deadline;
use pyo3::prelude::*;

use super::item::{Item, object_of};
use super::refusals::{closed, not_made, outsider, raise, refuse};
use super::wait::until;
use crate::errors;
use crate::process::codec::out_of_memory;
use crate::queue::coroutines::Coroutines;

/// The compiled part of a queue between processes.
#[pyclass(module = "manyhands._runtime", subclass, frozen)]
pub struct SharedQueueCore {
    /// False in the zeroed memory that the collector of Python 3.11 may already traverse.
    pub(super) is_made: bool,
    pub(super) queue: OnceLock<SharedQueue>,
    /// By this process.
    pub(super) is_closed: AtomicBool,
    /// This process has put something: only then `empty` of a closed queue is an error, as with
    /// the standard class.
    pub(super) has_put: AtomicBool,
    /// Those of this process.
    pub(super) coroutines: Coroutines,
}

/// What came of a put that is over.
enum PutEnd {
    Done,
    ShutDown,
    OutOfMemory(manyhands_shm::OutOfMemory),
}

impl SharedQueueCore {
    /// The queue, where it may be used.
    #[inline]
    pub(super) fn queue<'a>(slf: &'a Bound<'_, Self>) -> PyResult<&'a SharedQueue> {
        let core = slf.get();
        let Some(queue) = core.queue.get() else { return Err(not_made()) };
        if queue.object().heap().me().number() == 0 {
            return Err(outsider(slf.py()));
        }
        Ok(queue)
    }

    /// As [`Self::queue`], for what a closed queue refuses.
    #[inline]
    pub(super) fn open_queue<'a>(slf: &'a Bound<'_, Self>) -> PyResult<&'a SharedQueue> {
        if slf.get().is_closed.load(Ordering::Relaxed) {
            return Err(closed(slf.as_any()));
        }
        Self::queue(slf)
    }

    #[inline]
    pub(super) fn put_by(
        slf: &Bound<'_, Self>,
        object: &Bound<'_, PyAny>,
        deadline: impl FnOnce() -> PyResult<Option<Option<Deadline>>>,
    ) -> PyResult<()> {
        let queue = Self::open_queue(slf)?;
        let item = match Item::new(object, queue.object().heap()) {
            Ok(item) => item,
            Err(error) => return refuse(slf.as_any(), object, error),
        };
        item.with_message(|message| match queue.try_put_briefly(message) {
            Ok(()) => Self::after_put(slf, 1),
            Err(refused) => Self::put_slow(slf, queue, refused, deadline()?),
        })
    }

    #[cold]
    fn put_slow(
        slf: &Bound<'_, Self>,
        queue: &SharedQueue,
        refused: NotPut<'_>,
        deadline: Option<Option<Deadline>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let message = match refused {
            NotPut::Busy(message) | NotPut::Full(message) => message,
            NotPut::ShutDown(_) => return Err(raise(errors::queue_shut_down(py))),
            NotPut::OutOfMemory(error) => return Err(out_of_memory(&error)),
        };
        let mut held = Some(message);
        let mut attempt = || try_put(queue, &mut held);
        let end = match deadline {
            Some(deadline) => until(py, queue, deadline, || queue.enlist_putter(), attempt)?,
            None => py.detach(&mut attempt),
        };
        match end {
            Some(PutEnd::Done) => Self::after_put(slf, 1),
            Some(PutEnd::ShutDown) => Err(raise(errors::queue_shut_down(py))),
            Some(PutEnd::OutOfMemory(error)) => Err(out_of_memory(&error)),
            None => Err(raise(errors::queue_full(py))),
        }
    }

    #[inline]
    pub(super) fn get_by<'py>(
        slf: &Bound<'py, Self>,
        deadline: impl FnOnce() -> PyResult<Option<Option<Deadline>>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let queue = Self::open_queue(slf)?;
        match queue.try_get_briefly() {
            Some(Ok(taken)) => Self::got(slf, taken),
            _ => Self::get_slow(slf, queue, deadline()?),
        }
    }

    #[cold]
    fn get_slow<'py>(
        slf: &Bound<'py, Self>,
        queue: &SharedQueue,
        deadline: Option<Option<Deadline>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let attempt = || match queue.try_get() {
            Err(NotGot::Empty) => None,
            end => Some(end),
        };
        let end = match deadline {
            Some(deadline) => until(py, queue, deadline, || queue.enlist_getter(), attempt)?,
            None => py.detach(attempt),
        };
        match end {
            Some(Ok(taken)) => Self::got(slf, taken),
            Some(Err(NotGot::OutOfMemory(error))) => Err(out_of_memory(&error)),
            Some(Err(_)) => Err(raise(errors::queue_shut_down(py))),
            None => Err(raise(errors::queue_empty(py))),
        }
    }

    #[inline]
    fn got<'py>(slf: &Bound<'py, Self>, taken: Taken) -> PyResult<Bound<'py, PyAny>> {
        Self::after_get(slf, 1)?;
        object_of(slf.py(), taken)
    }

    /// An item is there: calls coroutines of this process that wait for one.
    #[inline]
    pub(super) fn after_put(slf: &Bound<'_, Self>, n_items: usize) -> PyResult<()> {
        slf.get().has_put.store(true, Ordering::Relaxed);
        slf.get().coroutines.after_put(slf.py(), n_items)
    }

    /// Room is there: calls coroutines of this process that wait for it.
    #[inline]
    pub(super) fn after_get(slf: &Bound<'_, Self>, n_items: usize) -> PyResult<()> {
        slf.get().coroutines.after_get(slf.py(), n_items)
    }
}

/// One attempt; `None`: there is no room.
fn try_put(queue: &SharedQueue, held: &mut Option<Message<'_>>) -> Option<PutEnd> {
    let message = held.take()?;
    match queue.try_put(message) {
        Ok(()) => Some(PutEnd::Done),
        Err(NotPut::Full(message) | NotPut::Busy(message)) => {
            *held = Some(message);
            None
        }
        Err(NotPut::ShutDown(_)) => Some(PutEnd::ShutDown),
        Err(NotPut::OutOfMemory(error)) => Some(PutEnd::OutOfMemory(error)),
    }
}
