//! `SimpleQueue`: first in, first out, without a limit, without task tracking.

use std::collections::VecDeque;

use manyhands_queue::{Locked, Nothing, Queue};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::core::raise;
use super::items::{ItemQueue, Items};
use super::wait::{Attempt, End, Place, deadline_of_call, until};
use crate::errors;

/// A queue without a limit.
#[pyclass(module = "manyhands.queue", subclass, frozen, weakref)]
pub struct SimpleQueue {
    queue: ItemQueue,
}

type Wanted<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

#[pymethods]
impl SimpleQueue {
    /// A subclass may have any arguments of its own.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "()")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { queue: Queue::with_store(Locked::new(Items::Fifo(VecDeque::new()), 0)) }
    }

    /// Puts `item` into the queue; never waits.
    #[pyo3(signature = (item, block=None, timeout=None), text_signature = "($self, item, block=True, timeout=None)")]
    fn put(&self, item: Py<PyAny>, block: Wanted<'_, '_>, timeout: Wanted<'_, '_>) {
        let _ = (block, timeout);
        let _ = self.queue.try_put(Some(item));
    }

    /// Puts `item` into the queue.
    fn put_nowait(&self, item: Py<PyAny>) {
        let _ = self.queue.try_put(Some(item));
    }

    /// Gets an item from the queue, waiting for one if `block`, at most `timeout` seconds.
    #[pyo3(signature = (block=None, timeout=None), text_signature = "($self, block=True, timeout=None)")]
    fn get(
        slf: &Bound<'_, Self>,
        block: Wanted<'_, '_>,
        timeout: Wanted<'_, '_>,
    ) -> PyResult<Py<PyAny>> {
        if timeout.is_some() {
            deadline_of_call(block, timeout)?;
        }
        match slf.get().queue.try_get() {
            Ok(item) => Ok(item.unwrap_or_else(|| slf.py().None())),
            Err(_) => Self::get_slow(slf, block, timeout),
        }
    }

    /// Gets an item from the queue if there is one.
    fn get_nowait(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        match slf.get().queue.try_get() {
            Ok(item) => Ok(item.unwrap_or_else(|| slf.py().None())),
            Err(_) => Err(raise(errors::queue_empty(slf.py()))),
        }
    }

    /// How many items are in the queue now.
    fn qsize(&self) -> usize {
        self.queue.len()
    }

    /// Whether no item is in the queue now.
    fn empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.queue.store().with(|state| state.order.traverse(&visit))
    }

    fn __clear__(&self) {
        let items = self.queue.store().with(|state| state.order.take());
        drop(items);
    }
}

impl SimpleQueue {
    #[cold]
    fn get_slow(
        slf: &Bound<'_, Self>,
        block: Wanted<'_, '_>,
        timeout: Wanted<'_, '_>,
    ) -> PyResult<Py<PyAny>> {
        let (py, queue) = (slf.py(), &slf.get().queue);
        if let Some(deadline) = deadline_of_call(block, timeout)? {
            let attempt = || {
                Ok(match queue.try_get() {
                    Ok(item) => Attempt::Done(item.unwrap_or_else(|| py.None())),
                    Err(Nothing::Empty) => Attempt::NotYet,
                    Err(Nothing::ShutDown) => Attempt::Closed,
                })
            };
            let place = Place { kind: "SimpleQueue", name: None, id: slf.as_ptr() as usize };
            if let End::Done(item) = until(py, &place, deadline, || queue.enlist_getter(), attempt)?
            {
                return Ok(item);
            }
        }
        Err(raise(errors::queue_empty(py)))
    }
}
