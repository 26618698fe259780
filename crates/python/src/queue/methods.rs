//! What Python sees of `QueueCore`.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use manyhands_queue::{Locked, Order, Queue, Refused};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};

use super::core::{QueueCore, block_and_timeout, raise};
use super::coroutines::{Coroutines, coroutine_methods};
use super::exposure::{self, Exposure};
use super::heap::Heap;
use super::items::{Item, Items};
use super::wait::{Attempt, End, deadline_of_call, until};
use crate::call::call;
use crate::contract;
use crate::errors;

type Wanted<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

coroutine_methods!(QueueCore);

#[pymethods]
impl QueueCore {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let py = class.py();
        let order = class.getattr(intern!(py, "_order"))?;
        let (kind, items) = match order.extract::<&str>()? {
            "fifo" => ("Queue", Items::Fifo(VecDeque::new())),
            "lifo" => ("LifoQueue", Items::Lifo(Vec::new())),
            "priority" => ("PriorityQueue", Items::Counted(0)),
            other => {
                return Err(PyValueError::new_err(format!("there is no order of items {other:?}")));
            }
        };
        Ok(Self {
            heap: matches!(items, Items::Counted(_)).then(|| Heap::new(py)),
            queue: Queue::with_store(Locked::new(items, 0)),
            kind,
            name: OnceLock::new(),
            maxsize: AtomicI64::new(0),
            exposure: Exposure::new(),
            is_put_overridden: AtomicBool::new(false),
            is_get_overridden: AtomicBool::new(false),
            coroutines: Coroutines::default(),
        })
    }

    /// Called once, by `__init__`.
    fn _set_up(
        &self,
        maxsize: &Bound<'_, PyAny>,
        name: Option<String>,
        is_put_overridden: bool,
        is_get_overridden: bool,
    ) -> PyResult<()> {
        self.set_maxsize(maxsize)?;
        if let Some(name) = name {
            let _ = self.name.set(name);
        }
        self.is_put_overridden.store(is_put_overridden, Ordering::Relaxed);
        self.is_get_overridden.store(is_get_overridden, Ordering::Relaxed);
        Ok(())
    }

    /// Puts `item` into the queue, waiting for room if `block`, at most `timeout` seconds.
    #[pyo3(
        signature = (item, block=None, timeout=None),
        text_signature = "($self, item, block=True, timeout=None)"
    )]
    fn put(
        slf: &Bound<'_, Self>,
        item: Py<PyAny>,
        block: Wanted<'_, '_>,
        timeout: Wanted<'_, '_>,
    ) -> PyResult<()> {
        let core = slf.get();
        if timeout.is_some() && core.queue.maxsize() > 0 {
            deadline_of_call(block, timeout)?;
        }
        match core.try_put(slf.py(), item)? {
            Ok(()) => Self::after_put(slf, 1),
            Err(Refused::Full(item) | Refused::ShutDown(item)) => {
                Self::put_slow(slf, item, deadline_of_call(block, timeout)?)
            }
        }
    }

    /// Gets an item from the queue, waiting for one if `block`, at most `timeout` seconds.
    #[pyo3(
        signature = (block=None, timeout=None),
        text_signature = "($self, block=True, timeout=None)"
    )]
    fn get(
        slf: &Bound<'_, Self>,
        block: Wanted<'_, '_>,
        timeout: Wanted<'_, '_>,
    ) -> PyResult<Py<PyAny>> {
        if timeout.is_some() {
            deadline_of_call(block, timeout)?;
        }
        match slf.get().try_get(slf.py())? {
            Ok(item) => {
                Self::after_get(slf, 1)?;
                Ok(item)
            }
            Err(_) => Self::get_slow(slf, deadline_of_call(block, timeout)?),
        }
    }

    /// Puts `item` into the queue if there is room.
    fn put_nowait(slf: &Bound<'_, Self>, item: Py<PyAny>) -> PyResult<()> {
        let core = slf.get();
        if core.is_put_overridden.load(Ordering::Relaxed) {
            let put = slf.getattr(intern!(slf.py(), "put"))?;
            return call(&put, &(item, false).into_pyobject(slf.py())?, None).map(drop);
        }
        match core.try_put(slf.py(), item)? {
            Ok(()) => Self::after_put(slf, 1),
            Err(Refused::Full(item) | Refused::ShutDown(item)) => Self::put_slow(slf, item, None),
        }
    }

    /// Gets an item from the queue if there is one.
    fn get_nowait(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let core = slf.get();
        if core.is_get_overridden.load(Ordering::Relaxed) {
            let get = slf.getattr(intern!(slf.py(), "get"))?;
            return call(&get, &(false,).into_pyobject(slf.py())?, None).map(Bound::unbind);
        }
        match core.try_get(slf.py())? {
            Ok(item) => {
                Self::after_get(slf, 1)?;
                Ok(item)
            }
            Err(_) => Self::get_slow(slf, None),
        }
    }

    /// Puts all `items` in their order, waiting for room, at most `timeout` seconds.
    #[pyo3(signature = (items, timeout=None))]
    fn put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        timeout: Wanted<'_, '_>,
    ) -> PyResult<()> {
        let (py, core) = (slf.py(), slf.get());
        let deadline = deadline_of_call(None, timeout)?;
        let mut items = items
            .try_iter()?
            .map(|item| item.map(|item| Some(item.unbind())))
            .collect::<PyResult<VecDeque<Item>>>()?;
        let n_items = items.len();
        let mut put = || -> PyResult<()> {
            loop {
                if core.heap.is_none() {
                    let n_before = items.len();
                    let _ = core.queue.try_put_many(&mut items);
                    if items.len() < n_before {
                        Self::after_put(slf, n_before - items.len())?;
                    }
                }
                let Some(Some(item)) = items.front() else { return Ok(()) };
                match core.try_put(py, item.clone_ref(py))? {
                    Ok(()) => Self::after_put(slf, 1)?,
                    Err(Refused::Full(item) | Refused::ShutDown(item)) => {
                        Self::put_slow(slf, item, deadline)?;
                    }
                }
                drop(items.pop_front());
            }
        };
        put().inspect_err(|error| {
            // Who has to go on from here must know where that is.
            let _ = error.value(py).setattr("n_put", n_items - items.len());
        })
    }

    /// Waits for an item, at most `timeout` seconds, then gets up to `max` of those there are.
    #[pyo3(signature = (max, timeout=None))]
    fn get_many<'py>(
        slf: &Bound<'py, Self>,
        max: isize,
        timeout: Wanted<'_, 'py>,
    ) -> PyResult<Bound<'py, PyList>> {
        let (py, core) = (slf.py(), slf.get());
        let n_max = usize::try_from(max)
            .map_err(|_| PyValueError::new_err("'max' must be a non-negative number of items"))?;
        let deadline = deadline_of_call(None, timeout)?;
        if n_max == 0 {
            return Ok(PyList::empty(py));
        }
        let attempt = || {
            let items = core.try_get_many(py, n_max)?;
            Ok(match items.is_empty() {
                false => Attempt::Done(items),
                true if core.queue.is_shut_down() => Attempt::Closed,
                true => Attempt::NotYet,
            })
        };
        match Self::get_until(slf, deadline, attempt)? {
            End::Done(items) => {
                Self::after_get(slf, items.len())?;
                PyList::new(py, items)
            }
            End::TimedOut => Err(raise(errors::queue_empty(py))),
            End::Closed if Self::is_exposed(slf) => {
                let (_, left) = block_and_timeout(deadline);
                Ok(Self::in_hooks(slf, &contract::QUEUE_GET_MANY, (n_max, left))?
                    .into_bound(py)
                    .cast_into()?)
            }
            End::Closed => Err(raise(errors::queue_shut_down(py))),
        }
    }

    /// Reports one item that was got as done.
    fn task_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        if Self::is_exposed(slf) {
            return Self::in_hooks(slf, &contract::QUEUE_TASK_DONE, ()).map(drop);
        }
        slf.get()
            .queue
            .task_done()
            .map_err(|_| PyValueError::new_err("task_done() called too many times"))
    }

    /// Waits until every item that was put is done.
    fn join(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, queue) = (slf.py(), &slf.get().queue);
        let attempt = || {
            Ok(match () {
                () if Self::is_exposed(slf) => Attempt::Closed,
                () if queue.n_unfinished() == 0 => Attempt::Done(()),
                () => Attempt::NotYet,
            })
        };
        if let Attempt::Done(()) = attempt()? {
            return Ok(());
        }
        let end = until(py, &Self::place(slf), None, || queue.enlist_joiner(), attempt)?;
        if matches!(end, End::Closed) {
            Self::in_hooks(slf, &contract::QUEUE_JOIN, ())?;
        }
        Ok(())
    }

    /// Refuses further puts; ends waits that cannot succeed any more.
    #[pyo3(signature = (immediate=None), text_signature = "($self, immediate=False)")]
    fn shutdown(slf: &Bound<'_, Self>, immediate: Wanted<'_, '_>) -> PyResult<()> {
        let (py, core) = (slf.py(), slf.get());
        let is_immediate = immediate.map_or(Ok(false), PyAnyMethods::is_truthy)?;
        if Self::is_exposed(slf) {
            Self::in_hooks(slf, &contract::QUEUE_SHUTDOWN, (is_immediate,))?;
        } else {
            core.queue.shutdown(false);
            if is_immediate {
                let items = core.try_get_many(py, usize::MAX)?;
                core.queue.note_done(items.len());
            }
        }
        core.coroutines.after_shutdown(py)
    }

    /// How many items are in the queue now.
    fn qsize(slf: &Bound<'_, Self>) -> PyResult<usize> {
        match Self::is_exposed(slf) {
            true => Self::in_hooks(slf, &contract::QUEUE_QSIZE, ())?.extract(slf.py()),
            false => Ok(slf.get().queue.len()),
        }
    }

    /// Whether no item is in the queue now.
    fn empty(slf: &Bound<'_, Self>) -> PyResult<bool> {
        match Self::is_exposed(slf) {
            true => Self::in_hooks(slf, &contract::QUEUE_EMPTY_NOW, ())?.extract(slf.py()),
            false => Ok(slf.get().queue.is_empty()),
        }
    }

    /// Whether there is no room in the queue now.
    fn full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        if Self::is_exposed(slf) {
            return Self::in_hooks(slf, &contract::QUEUE_FULL_NOW, ())?.extract(slf.py());
        }
        let is_full = |maxsize, n_items| maxsize > 0 && n_items >= maxsize;
        Ok(slf.get().queue.store().with(|state| is_full(state.maxsize, state.order.len())))
    }

    /// The number of items there may be; zero or less: no limit.
    #[getter]
    fn maxsize(&self) -> i64 {
        self.maxsize.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_maxsize(&self, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let given = match maxsize.extract::<i64>() {
            Ok(maxsize) => maxsize,
            // A float, an infinity, or more than anybody can put.
            Err(_) => maxsize
                .extract::<f64>()
                .map_err(|_| PyTypeError::new_err("maxsize must be a number of items"))?
                .ceil() as i64,
        };
        self.maxsize.store(given, Ordering::Relaxed);
        let limit = usize::try_from(given).unwrap_or(0);
        self.queue.store().with(|state| state.maxsize = limit);
        self.queue.wake_all();
        Ok(())
    }

    /// The name given at construction.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.get().map(String::as_str)
    }

    /// What happened at the queue so far, and who waits there now.
    fn statistics<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let (py, core) = (slf.py(), slf.get());
        let seen = core.queue.statistics();
        let n_getters = seen.n_getters_waiting + core.coroutines.n_getters();
        let n_putters = seen.n_putters_waiting + core.coroutines.n_putters();
        let dict = PyDict::new(py);
        dict.set_item("put", seen.n_put)?;
        dict.set_item("got", seen.n_got)?;
        dict.set_item("unfinished", seen.n_unfinished)?;
        dict.set_item("getters_waiting", n_getters)?;
        dict.set_item("putters_waiting", n_putters)?;
        dict.set_item("get_waits", seen.n_get_waits)?;
        dict.set_item("put_waits", seen.n_put_waits)?;
        if Self::is_exposed(slf) {
            dict.update(Self::in_hooks(slf, &contract::QUEUE_STATISTICS, ())?.bind(py).cast()?)?;
        }
        Ok(dict)
    }

    /// Whether Python code works on the queue's parts.
    #[getter]
    fn _is_exposed(slf: &Bound<'_, Self>) -> bool {
        Self::is_exposed(slf)
    }

    #[getter]
    fn _is_shut_down(&self) -> bool {
        self.queue.is_shut_down()
    }

    #[getter]
    fn _n_unfinished(&self) -> u64 {
        self.queue.n_unfinished()
    }

    /// See [`exposure::snapshot`].
    fn _snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        exposure::snapshot(self, py)
    }

    /// See [`exposure::publish`].
    fn _publish(
        slf: &Bound<'_, Self>,
        version: exposure::Version,
        namespace: &Bound<'_, PyDict>,
        parts: &Bound<'_, PyDict>,
    ) -> PyResult<bool> {
        exposure::publish(slf, version, namespace, parts)
    }

    /// Python code put so many items: coroutines may go on.
    fn _after_put(slf: &Bound<'_, Self>, n_items: usize) -> PyResult<()> {
        Self::after_put(slf, n_items)
    }

    /// Python code got so many items: coroutines may go on.
    fn _after_get(slf: &Bound<'_, Self>, n_items: usize) -> PyResult<()> {
        Self::after_get(slf, n_items)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(format!(
            "cannot pickle a {} of manyhands.queue: it belongs to the threads of one process",
            self.kind
        )))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(heap) = &self.heap {
            visit.call(heap.list())?;
        }
        self.coroutines.traverse(&visit)?;
        // Nobody runs Python under this mutex, so nobody who has it can be waiting for us.
        self.queue.store().with(|state| state.order.traverse(&visit))
    }

    fn __clear__(&self) {
        let items = self.queue.store().with(|state| state.order.take());
        drop(items);
    }
}
