//! `SharedQueueCore`: the compiled part of `multiprocessing`'s `Queue`, `JoinableQueue` and
//! `SimpleQueue`.
//!
//! An item is packed before anything else, so that what cannot be pickled raises where it is put;
//! it is unpacked after it was taken out. No lock is held while Python code runs, and none is
//! waited for longer than a moment with the GIL.

mod item;
mod wait;

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use manyhands_queue::shared::{NotGot, NotPut, QUEUE, SharedQueue};
use manyhands_shm::message::{Message, Taken};
use manyhands_sys::clock::Deadline;
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};

use crate::call::call;
use crate::errors;
use crate::process::codec::out_of_memory;
use crate::queue::coroutines::{Coroutines, coroutine_methods};
use crate::shared::queue::item::{Item, object_of};
use crate::shared::queue::wait::{deadline_of_call, until};

type Wanted<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The compiled part of a queue between processes.
#[pyclass(module = "manyhands._runtime", subclass, frozen)]
pub struct SharedQueueCore {
    /// False in the zeroed memory that the collector of Python 3.11 may already traverse.
    is_made: bool,
    queue: OnceLock<SharedQueue>,
    /// By this process.
    is_closed: AtomicBool,
    /// This process has put something: only then `empty` of a closed queue is an error, as with
    /// the standard class.
    has_put: AtomicBool,
    /// Those of this process.
    coroutines: Coroutines,
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
    fn queue<'a>(slf: &'a Bound<'_, Self>) -> PyResult<&'a SharedQueue> {
        let core = slf.get();
        let Some(queue) = core.queue.get() else { return Err(not_made()) };
        if queue.object().heap().me().number() == 0 {
            return Err(outsider(slf.py()));
        }
        Ok(queue)
    }

    /// As [`Self::queue`], for what a closed queue refuses.
    #[inline]
    fn open_queue<'a>(slf: &'a Bound<'_, Self>) -> PyResult<&'a SharedQueue> {
        if slf.get().is_closed.load(Ordering::Relaxed) {
            return Err(closed(slf));
        }
        Self::queue(slf)
    }

    #[inline]
    fn put_by(
        slf: &Bound<'_, Self>,
        object: &Bound<'_, PyAny>,
        deadline: impl FnOnce() -> PyResult<Option<Option<Deadline>>>,
    ) -> PyResult<()> {
        let queue = Self::open_queue(slf)?;
        let item = match Item::new(object, queue.object().heap()) {
            Ok(item) => item,
            Err(error) => return refuse(slf, object, error),
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
    fn get_by<'py>(
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
    fn after_put(slf: &Bound<'_, Self>, n_items: usize) -> PyResult<()> {
        slf.get().has_put.store(true, Ordering::Relaxed);
        slf.get().coroutines.after_put(slf.py(), n_items)
    }

    /// Room is there: calls coroutines of this process that wait for it.
    #[inline]
    fn after_get(slf: &Bound<'_, Self>, n_items: usize) -> PyResult<()> {
        slf.get().coroutines.after_get(slf.py(), n_items)
    }
}

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
            && (core.has_put.load(Ordering::Relaxed) || is_simple(slf))
        {
            return Err(PyOSError::new_err(is_closed_text(slf)));
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

/// An object that cannot be packed: what the class of the queue makes of that.
#[cold]
fn refuse(
    slf: &Bound<'_, SharedQueueCore>,
    object: &Bound<'_, PyAny>,
    error: PyErr,
) -> PyResult<()> {
    let py = slf.py();
    let refuse = slf.getattr(intern!(py, "_refuse"))?;
    call(&refuse, &(error.value(py), object).into_pyobject(py)?, None).map(drop)
}

/// Whoever has to go on from here must know where that is.
fn with_n_put(py: Python<'_>, error: PyErr, n_put: usize) -> PyErr {
    let _ = error.value(py).setattr(intern!(py, "n_put"), n_put);
    error
}

/// The first of `failures`, with the items that could be unpickled and a note of each other one.
#[cold]
fn with_items(py: Python<'_>, failures: Vec<PyErr>, items: Bound<'_, PyList>) -> PyErr {
    let mut failures = failures.into_iter();
    let first = failures.next().expect("something failed");
    let value = first.value(py);
    let _ = value.setattr(intern!(py, "items"), items);
    for other in failures {
        let note = format!("Another item of the batch could not be unpickled: {other}");
        let _ = value.call_method1(intern!(py, "add_note"), (note,));
    }
    first
}

fn raise(class: PyResult<&Bound<'_, PyType>>) -> PyErr {
    match class {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

#[cold]
fn closed(slf: &Bound<'_, SharedQueueCore>) -> PyErr {
    let text = is_closed_text(slf);
    // As the standard classes: reading or writing a closed pipe is an OSError.
    if is_simple(slf) { PyOSError::new_err(text) } else { PyValueError::new_err(text) }
}

fn is_simple(slf: &Bound<'_, SharedQueueCore>) -> bool {
    let is_simple = slf.getattr(intern!(slf.py(), "_is_simple"));
    is_simple.and_then(|is_simple| is_simple.is_truthy()).unwrap_or(false)
}

fn is_closed_text(slf: &Bound<'_, SharedQueueCore>) -> String {
    let repr = slf.repr().map_or_else(|_| String::new(), |repr| repr.to_string());
    format!("Queue {repr} is closed")
}

#[cold]
fn not_made() -> PyErr {
    PyRuntimeError::new_err("this queue was not made: a subclass must call super().__init__()")
}

#[cold]
fn outsider(py: Python<'_>) -> PyErr {
    let text = "this process was forked in a way that left it outside of the queue's family: \
                fork with os.fork() or multiprocessing";
    errors::error_of(errors::handle_error(py), text)
}
