//! `QueueCore`: the compiled part of `Queue`, `LifoQueue` and `PriorityQueue`.
//!
//! A queue is *native* until a program overrides the hooks of the standard class or touches its
//! parts (`mutex`, `queue`, …). From then on it is *exposed*: the native store is closed and empty
//! for good, and every call goes to `_queues/thread_queue_hooks.py`, which works on those parts. So
//! the fast path asks nothing: only who is refused by the store looks why.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64};

use manyhands_queue::{Nothing, Refused};
use manyhands_sys::clock::Deadline;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::coroutines::Coroutines;
use super::exposure::Exposure;
use super::heap::Heap;
use super::items::{Item, ItemQueue, Items};
use super::wait::{Attempt, End, Place, until};
use crate::call::call;
use crate::contract::{self, Hook};
use crate::errors;

/// The compiled part of `Queue`.
#[pyclass(module = "manyhands._runtime", subclass, frozen)]
pub struct QueueCore {
    pub(super) queue: ItemQueue,
    /// Of a priority queue: its items; `queue` counts them.
    pub(super) heap: Option<Heap>,
    pub(super) kind: &'static str,
    pub(super) name: OnceLock<String>,
    /// As it was given: also what stands for no limit.
    pub(super) maxsize: AtomicI64,
    pub(super) exposure: Exposure,
    /// A subclass overrides `put`, or `get`: the other methods go through it, as in the standard.
    pub(super) is_put_overridden: AtomicBool,
    pub(super) is_get_overridden: AtomicBool,
    pub(super) coroutines: Coroutines,
}

impl QueueCore {
    #[inline]
    pub(super) fn try_put(
        &self,
        py: Python<'_>,
        item: Py<PyAny>,
    ) -> PyResult<Result<(), Refused<Py<PyAny>>>> {
        match &self.heap {
            None => Ok(self.queue.try_put(Some(item)).map_err(given_back)),
            Some(heap) => self.try_put_into(heap, py, item),
        }
    }

    fn try_put_into(
        &self,
        heap: &Heap,
        py: Python<'_>,
        item: Py<PyAny>,
    ) -> PyResult<Result<(), Refused<Py<PyAny>>>> {
        let guard = heap.lock(py)?;
        // A getter that is called already finds the lock taken until the item is in its place.
        match self.queue.try_put(None) {
            Err(Refused::Full(_)) => return Ok(Err(Refused::Full(item))),
            Err(Refused::ShutDown(_)) => return Ok(Err(Refused::ShutDown(item))),
            Ok(()) => {}
        }
        guard.push(py, item).inspect_err(|_| {
            // As in the standard class: the item may be in the list, but counts as no task.
            let n_items = guard.len(py);
            self.queue.store().with(|state| {
                state.order = Items::Counted(n_items);
                state.n_pushed -= 1;
            });
        })?;
        Ok(Ok(()))
    }

    #[inline]
    pub(super) fn try_get(&self, py: Python<'_>) -> PyResult<Result<Py<PyAny>, Nothing>> {
        match &self.heap {
            None => Ok(self.queue.try_get().map(|item| item.unwrap_or_else(|| py.None()))),
            Some(heap) => self.try_get_from(heap, py),
        }
    }

    fn try_get_from(&self, heap: &Heap, py: Python<'_>) -> PyResult<Result<Py<PyAny>, Nothing>> {
        let guard = heap.lock(py)?;
        match self.queue.try_get() {
            Ok(_) => {}
            Err(nothing) => return Ok(Err(nothing)),
        }
        // A comparison that raises has cost the item, as in the standard class.
        guard.pop(py).map(Ok)
    }

    pub(super) fn try_get_many(&self, py: Python<'_>, n_max: usize) -> PyResult<Vec<Py<PyAny>>> {
        let mut items = Vec::new();
        if self.heap.is_none() {
            let mut taken = Vec::new();
            self.queue.try_get_many(n_max, &mut taken);
            items.extend(taken.into_iter().flatten());
            return Ok(items);
        }
        while items.len() < n_max
            && let Ok(item) = self.try_get(py)?
        {
            items.push(item);
        }
        Ok(items)
    }

    pub(super) fn place<'a>(slf: &'a Bound<'_, Self>) -> Place<'a> {
        let core = slf.get();
        let name = core.name.get().map(String::as_str);
        Place { kind: core.kind, name, id: slf.as_ptr() as usize }
    }

    /// An item is there: calls coroutines that wait for one.
    #[inline]
    pub(super) fn after_put(slf: &Bound<'_, Self>, n_items: usize) -> PyResult<()> {
        slf.get().coroutines.after_put(slf.py(), n_items)
    }

    /// Room is there: calls coroutines that wait for it.
    #[inline]
    pub(super) fn after_get(slf: &Bound<'_, Self>, n_items: usize) -> PyResult<()> {
        slf.get().coroutines.after_get(slf.py(), n_items)
    }

    #[cold]
    pub(super) fn put_slow<'py>(
        slf: &Bound<'py, Self>,
        item: Py<PyAny>,
        deadline: Option<Option<Deadline>>,
    ) -> PyResult<()> {
        let (py, core) = (slf.py(), slf.get());
        let mut held = Some(item);
        let mut attempt = || {
            let Some(item) = held.take() else { return Ok(Attempt::Closed) };
            Ok(match core.try_put(py, item)? {
                Ok(()) => Attempt::Done(()),
                Err(Refused::Full(item)) => {
                    held = Some(item);
                    Attempt::NotYet
                }
                Err(Refused::ShutDown(item)) => {
                    held = Some(item);
                    Attempt::Closed
                }
            })
        };
        let end = match deadline {
            Some(deadline) => {
                let enlist = || core.queue.enlist_putter();
                until(py, &Self::place(slf), deadline, enlist, attempt)?
            }
            None => match attempt()? {
                Attempt::Done(()) => End::Done(()),
                Attempt::NotYet => End::TimedOut,
                Attempt::Closed => End::Closed,
            },
        };
        match end {
            End::Done(()) => Self::after_put(slf, 1),
            End::TimedOut => Err(raise(errors::queue_full(py))),
            End::Closed if Self::is_exposed(slf) => {
                let (block, left) = block_and_timeout(deadline);
                Self::in_hooks(slf, &contract::QUEUE_PUT, (held.take(), block, left)).map(drop)
            }
            End::Closed => Err(raise(errors::queue_shut_down(py))),
        }
    }

    #[cold]
    pub(super) fn get_slow(
        slf: &Bound<'_, Self>,
        deadline: Option<Option<Deadline>>,
    ) -> PyResult<Py<PyAny>> {
        let (py, core) = (slf.py(), slf.get());
        let attempt = || {
            Ok(match core.try_get(py)? {
                Ok(item) => Attempt::Done(item),
                Err(Nothing::Empty) => Attempt::NotYet,
                Err(Nothing::ShutDown) => Attempt::Closed,
            })
        };
        match Self::get_until(slf, deadline, attempt)? {
            End::Done(item) => {
                Self::after_get(slf, 1)?;
                Ok(item)
            }
            End::TimedOut => Err(raise(errors::queue_empty(py))),
            End::Closed if Self::is_exposed(slf) => {
                Self::in_hooks(slf, &contract::QUEUE_GET, block_and_timeout(deadline))
            }
            End::Closed => Err(raise(errors::queue_shut_down(py))),
        }
    }

    pub(super) fn get_until<T>(
        slf: &Bound<'_, Self>,
        deadline: Option<Option<Deadline>>,
        mut attempt: impl FnMut() -> PyResult<Attempt<T>>,
    ) -> PyResult<End<T>> {
        match deadline {
            Some(deadline) => {
                let enlist = || slf.get().queue.enlist_getter();
                until(slf.py(), &Self::place(slf), deadline, enlist, attempt)
            }
            None => Ok(match attempt()? {
                Attempt::Done(value) => End::Done(value),
                Attempt::NotYet => End::TimedOut,
                Attempt::Closed => End::Closed,
            }),
        }
    }

    /// Whether Python code works on the parts.
    pub(super) fn is_exposed(slf: &Bound<'_, Self>) -> bool {
        slf.get().exposure.is_over(slf.py())
    }

    /// Calls `hook(self, *args)`.
    #[cold]
    pub(super) fn in_hooks<'py>(
        slf: &Bound<'py, Self>,
        hook: &Hook,
        args: impl IntoPyObject<'py, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let function = hook.get(py)?;
        let args = args.into_pyobject(py).map_err(Into::into)?;
        let mut all = vec![slf.as_any().clone()];
        all.extend(args.iter());
        call(function, &PyTuple::new(py, all)?, None).map(Bound::unbind)
    }
}

fn given_back(refused: Refused<Item>) -> Refused<Py<PyAny>> {
    // What a native queue refuses is what it was given: an item.
    match refused {
        Refused::Full(item) => Refused::Full(of(item)),
        Refused::ShutDown(item) => Refused::ShutDown(of(item)),
    }
}

fn of(item: Item) -> Py<PyAny> {
    item.unwrap_or_else(|| Python::attach(|py| py.None()))
}

pub(super) fn raise(class: PyResult<&Bound<'_, PyType>>) -> PyErr {
    match class {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

/// The arguments `block` and `timeout` in seconds from now.
pub(super) fn block_and_timeout(deadline: Option<Option<Deadline>>) -> (bool, Option<f64>) {
    match deadline {
        None => (false, None),
        Some(None) => (true, None),
        Some(Some(deadline)) => (true, Some(deadline.remaining().as_secs_f64())),
    }
}
