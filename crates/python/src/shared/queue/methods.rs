//! What Python sees of `SharedQueueCore`.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use manyhands_queue::shared::{NotGot, NotPut, QUEUE, SharedQueue};
use manyhands_shm::message::Message;
use manyhands_sys::clock::Deadline;
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};

use super::core::SharedQueueCore;
use super::item::{Item, object_of};
use super::refusals::{is_closed_text, is_simple, raise, with_items, with_n_put};
use super::wait::{deadline_of_call, until};
use crate::errors;
use crate::process::codec::out_of_memory;
use crate::queue::coroutines::{Coroutines, coroutine_methods};

type Wanted<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

coroutine_methods!(SharedQueueCore);

#[pymethods]
impl SharedQueueCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            is_made: true,
            queue: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            has_put: AtomicBool::new(false),
            coroutines: Coroutines::default(),
        }
    }

    /// Called once, by `__init__`. No limit: 0.
    fn _set_up(&self, maxsize: u64) -> PyResult<()> {
        let heap = manyhands_shm::family::kept_heap()?;
        let queue = SharedQueue::create(&heap, maxsize).map_err(|error| out_of_memory(&error))?;
        self.queue.set(queue).map_err(|_| PyRuntimeError::new_err("a queue is made only once"))
    }

    /// The queue that a pickle names.
    #[classmethod]
    fn _open<'py>(class: &Bound<'py, PyType>, name: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        let object = crate::shared::open(py, name, &QUEUE)?;
        let made = class.call_method1(intern!(py, "__new__"), (class,))?;
        let _ = made.cast::<Self>()?.get().queue.set(SharedQueue::of(object));
        Ok(made)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let queue = Self::queue(slf)?;
        crate::shared::reduce(slf.as_any(), queue.object())
    }

    /// Puts `obj` into the queue, waiting for room if `block`, at most `timeout` seconds.
    ///
    /// Raises what pickling raises, here and not in a thread; queue.Full if there was no room in
    /// time; queue.ShutDown; MemoryError if the family heap has no room; ValueError if the queue is
    /// closed here.
    #[pyo3(
        signature = (obj, block=None, timeout=None),
        text_signature = "($self, obj, block=True, timeout=None)"
    )]
    fn put(
        slf: &Bound<'_, Self>,
        obj: &Bound<'_, PyAny>,
        block: Wanted<'_, '_>,
        timeout: Wanted<'_, '_>,
    ) -> PyResult<()> {
        Self::put_by(slf, obj, || deadline_of_call(block, timeout))
    }

    /// Gets an item from the queue, waiting for one if `block`, at most `timeout` seconds.
    ///
    /// Raises queue.Empty if there was none in time; queue.ShutDown if the queue is shut down and
    /// empty; what unpickling raises, then the item is gone; ValueError if the queue is closed
    /// here.
    #[pyo3(
        signature = (block=None, timeout=None),
        text_signature = "($self, block=True, timeout=None)"
    )]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: Wanted<'_, '_>,
        timeout: Wanted<'_, '_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::get_by(slf, || deadline_of_call(block, timeout))
    }

    /// Puts `obj` into the queue if there is room.
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::put_by(slf, obj, || Ok(None))
    }

    /// Gets an item from the queue if there is one.
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::get_by(slf, || Ok(None))
    }

    /// Puts all `items` in their order, waiting for room, at most `timeout` seconds.
    ///
    /// Raises as `put`; queue.Full and queue.ShutDown have the number of items that were put as
    /// `n_put`.
    #[pyo3(signature = (items, timeout=None))]
    fn put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        timeout: Wanted<'_, '_>,
    ) -> PyResult<()> {
        let (py, queue) = (slf.py(), Self::open_queue(slf)?);
        let deadline = deadline_of_call(None, timeout)?.flatten();
        let heap = queue.object().heap();
        // All are packed before one is put.
        let packed: PyResult<Vec<Item>> =
            items.try_iter()?.map(|item| Item::new(&item?, heap)).collect();
        let mut packed = packed?;
        let n_items = packed.len();
        let mut left: VecDeque<Message<'_>> = packed.iter_mut().map(Item::as_message).collect();
        let mut n_put = 0;
        while n_put < n_items {
            let refused = py.detach(|| queue.try_put_many(&mut left)).err();
            // The one that was refused is not put, nor among those that are left.
            let n_now = n_items - left.len() - usize::from(refused.is_some());
            if n_now > n_put {
                Self::after_put(slf, n_now - n_put)?;
                n_put = n_now;
            }
            match refused {
                None => {}
                Some(NotPut::OutOfMemory(error)) => {
                    return Err(with_n_put(py, out_of_memory(&error), n_put));
                }
                Some(_) => return Err(with_n_put(py, raise(errors::queue_shut_down(py)), n_put)),
            }
            let room = || (!queue.is_full() || queue.is_shut_down()).then_some(());
            let enlist = || queue.enlist_putter();
            if n_put < n_items && until(py, queue, deadline, enlist, room)?.is_none() {
                return Err(with_n_put(py, raise(errors::queue_full(py)), n_put));
            }
        }
        Ok(())
    }

    /// Waits for an item, at most `timeout` seconds, then gets up to `max` of those there are.
    ///
    /// What unpickling one of them raises has the others, in order, as its `items`; if several
    /// fail it is the first one's, and a note tells of each other.
    #[pyo3(signature = (max, timeout=None))]
    fn get_many<'py>(
        slf: &Bound<'py, Self>,
        max: isize,
        timeout: Wanted<'_, 'py>,
    ) -> PyResult<Bound<'py, PyList>> {
        let (py, queue) = (slf.py(), Self::open_queue(slf)?);
        let n_max = usize::try_from(max)
            .map_err(|_| PyValueError::new_err("'max' must be a non-negative number of items"))?;
        let deadline = deadline_of_call(None, timeout)?.flatten();
        if n_max == 0 {
            return Ok(PyList::empty(py));
        }
        let attempt = || {
            let mut taken = Vec::new();
            match queue.try_get_many(n_max, &mut taken) {
                Err(error) => return Some(Err(NotGot::OutOfMemory(error))),
                Ok(0) => {}
                Ok(_) => return Some(Ok(taken)),
            }
            (queue.is_shut_down() && queue.is_empty()).then_some(Err(NotGot::ShutDown))
        };
        let end = match py.detach(attempt) {
            Some(end) => Some(end),
            None => until(py, queue, deadline, || queue.enlist_getter(), attempt)?,
        };
        let taken = match end {
            Some(Ok(taken)) => taken,
            Some(Err(NotGot::OutOfMemory(error))) => return Err(out_of_memory(&error)),
            Some(Err(_)) => return Err(raise(errors::queue_shut_down(py))),
            None => return Err(raise(errors::queue_empty(py))),
        };
        let mut failures = Vec::from_iter(Self::after_get(slf, taken.len()).err());
        let items = PyList::empty(py);
        for taken in taken {
            // All are taken out of the queue: one that fails must not cost the others.
            let kept = object_of(py, taken).and_then(|object| items.append(object));
            failures.extend(kept.err());
        }
        if failures.is_empty() { Ok(items) } else { Err(with_items(py, failures, items)) }
    }

    /// Reports one item that was got as done.
    fn task_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::queue(slf)?
            .task_done()
            .map_err(|_| PyValueError::new_err("task_done() called too many times"))
    }

    /// Waits until every item that was put is done.
    fn join(slf: &Bound<'_, Self>) -> PyResult<()> {
        let queue = Self::queue(slf)?;
        let attempt = || (queue.n_unfinished() == 0).then_some(());
        if attempt().is_none() {
            until(slf.py(), queue, None, || queue.enlist_joiner(), attempt)?;
        }
        Ok(())
    }

    /// Refuses further puts, of all processes; ends waits that cannot succeed any more.
    #[pyo3(signature = (immediate=None), text_signature = "($self, immediate=False)")]
    fn shutdown(slf: &Bound<'_, Self>, immediate: Wanted<'_, '_>) -> PyResult<()> {
        let (py, queue) = (slf.py(), Self::queue(slf)?);
        let is_immediate = immediate.map_or(Ok(false), PyAnyMethods::is_truthy)?;
        py.detach(|| queue.shutdown(is_immediate));
        slf.get().coroutines.after_shutdown(py)
    }

    /// How many items are in the queue now.
    fn qsize(slf: &Bound<'_, Self>) -> PyResult<u64> {
        Ok(Self::queue(slf)?.len())
    }

    /// Whether no item is in the queue now.
    fn empty(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let core = slf.get();
        if core.is_closed.load(Ordering::Relaxed)
            && (core.has_put.load(Ordering::Relaxed) || is_simple(slf.as_any()))
        {
            return Err(PyOSError::new_err(is_closed_text(slf.as_any())));
        }
        Ok(Self::queue(slf)?.is_empty())
    }

    /// Whether there is no room in the queue now.
    fn full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Ok(Self::queue(slf)?.is_full())
    }

    /// This process puts and gets no more. Items stay for the others.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// The number of items there may be; 0: no limit.
    #[getter]
    fn _limit(slf: &Bound<'_, Self>) -> PyResult<u64> {
        Ok(Self::queue(slf)?.maxsize())
    }

    /// Whether puts are refused.
    #[getter]
    fn is_shutdown(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Ok(Self::queue(slf)?.is_shut_down())
    }

    /// What happened at the queue so far, in all processes, and who waits there now.
    fn statistics<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let seen = Self::queue(slf)?.statistics();
        let dict = PyDict::new(slf.py());
        dict.set_item("put", seen.n_put)?;
        dict.set_item("got", seen.n_got)?;
        dict.set_item("lost", seen.n_lost)?;
        dict.set_item("unfinished", seen.n_unfinished)?;
        dict.set_item("getters_waiting", seen.n_getters_waiting)?;
        dict.set_item("putters_waiting", seen.n_putters_waiting)?;
        dict.set_item("get_waits", seen.n_get_waits)?;
        dict.set_item("put_waits", seen.n_put_waits)?;
        Ok(dict)
    }

    /// What tells the queue from all others of the family.
    #[getter]
    fn _id(slf: &Bound<'_, Self>) -> PyResult<u64> {
        Ok(Self::queue(slf)?.object().offset())
    }

    /// Waits, at most `seconds`, until there is an item (or the queue is shut down), on behalf of
    /// coroutines; takes nothing. Calls the next getter if it is told to go on without it.
    fn _wait_for_item(slf: &Bound<'_, Self>, seconds: f64) -> PyResult<bool> {
        let queue = Self::queue(slf)?;
        let deadline = Deadline::after(std::time::Duration::from_secs_f64(seconds));
        let attempt = || (!queue.is_empty() || queue.is_shut_down()).then_some(());
        let enlist = || queue.enlist_getter();
        Ok(until(slf.py(), queue, Some(deadline), enlist, attempt)?.is_some())
    }

    /// The same for room.
    fn _wait_for_room(slf: &Bound<'_, Self>, seconds: f64) -> PyResult<bool> {
        let queue = Self::queue(slf)?;
        let deadline = Deadline::after(std::time::Duration::from_secs_f64(seconds));
        let attempt = || (!queue.is_full() || queue.is_shut_down()).then_some(());
        let enlist = || queue.enlist_putter();
        Ok(until(slf.py(), queue, Some(deadline), enlist, attempt)?.is_some())
    }

    /// Calls one getter and one putter of any process: the caller was called and does not want it.
    fn _pass_on(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::queue(slf)?.pass_on();
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.is_made {
            return Ok(());
        }
        self.coroutines.traverse(&visit)
    }
}
