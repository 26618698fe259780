//! Tasks of a thread pool: called, stopped and timed in threads of this process.
//!
//! Stopping is exact, because the future's completion decides who may stop what, and the slot of
//! the thread (`manyhands_pool::threads`) whether the body is still there:
//!
//! | canceller (or timer)                        | worker                                        |
//! |---------------------------------------------|-----------------------------------------------|
//! | ends the completion: it is the only one     | its own settle fails: it knows it was stopped |
//! | slot lock; does it still run that task?     | slot lock; it runs nothing now                |
//! | yes: async exception; no: nothing to do     | clears an async exception that is still there |
//!
//! The worker clears in Rust, before any further bytecode: the exception never reaches the next
//! task, nor the loop.
//!
//! What it does not do: an async exception is delivered at the next bytecode. A body that sits in
//! C code ends only when that returns; its future has ended long before, and after the grace
//! another worker takes its place.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use manyhands_pool::completion::{Ending, Phase};
use manyhands_pool::threads::TaskKey;
use manyhands_sys::clock::{Deadline, monotonic_ns};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, ffi};

use super::core::{FutureCore, Kind};
use crate::async_exception;
use crate::call::call;
use crate::dispatcher;
use crate::errors;
use crate::python_threads::{Slot, ThreadSet};

/// A task of a thread pool: the part of its future that the pool needs.
pub struct LocalTask {
    /// Taken by whoever claims or cancels the completion.
    call: UnsafeCell<Option<Call>>,
    threads: Arc<ThreadSet>,
    /// The slot of the worker that runs it; set before it is claimed, lives as long as `threads`.
    slot: AtomicPtr<Slot>,
    options: Option<Box<Options>>,
    submitted_ns: u64,
    started_ns: AtomicU64,
    finished_ns: AtomicU64,
}

/// What to call, with what.
pub struct Call {
    /// The callable.
    pub function: Py<PyAny>,
    /// Its positional arguments.
    pub args: Py<PyTuple>,
    /// Its keyword arguments.
    pub kwargs: Option<Py<PyDict>>,
}

/// What `executor.options()` adds to a task.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How long the body may run.
    pub timeout: Option<Duration>,
    /// The name for reports.
    pub name: Option<String>,
}

/// How long a body that is stopped at its timeout may take to leave before its worker is replaced.
const TIMEOUT_GRACE: Duration = Duration::from_millis(100);

/// Runs `future` here if the calling thread is a worker that would otherwise wait for its own
/// pool while no other worker is free.
pub fn help(future: &Bound<'_, FutureCore>) {
    let Kind::Local(task) = future.get().kind() else { return };
    let Some(slot) = task.threads.slot_to_help_in() else { return };
    if let Some(ending) = run(future, task, slot) {
        announce(future, ending);
    }
}

/// Runs a task that nobody else has claimed. Returns its end, if this call brought it about.
pub fn run(future: &Bound<'_, FutureCore>, task: &LocalTask, slot: &Slot) -> Option<Ending> {
    let (py, core) = (future.py(), future.get());
    task.slot.store(std::ptr::from_ref(slot).cast_mut(), Ordering::Relaxed);
    slot.enter(key_of(future));
    // The claim publishes the slot: meets the Acquire of whoever ends a running task.
    if !core.completion().claim() {
        leave(slot, future);
        return None;
    }
    task.started_ns.store(monotonic_ns(), Ordering::Relaxed);
    let timer = task.arm_timeout(future);
    let outcome = task.take_call().map_or_else(|| Ok(py.None()), |call| call.run(py));
    if let Some(timer) = timer {
        dispatcher::disarm(timer);
    }
    task.finished_ns.store(monotonic_ns(), Ordering::Relaxed);
    task.threads.count_finished();
    let ending = core.try_settle(outcome.map_err(|error| error.into_value(py).into_any()));
    leave(slot, future);
    ending
}

/// Tells of the end of a task.
pub fn announce(future: &Bound<'_, FutureCore>, ending: Ending) {
    if let Err(error) = FutureCore::announce(future, ending) {
        let message = "exception calling callback for %r";
        errors::log_exception(future.py(), "critical", message, Some(future.as_any()), &error);
    }
}

/// The body is over: what was raised for it never reaches another one.
#[inline]
fn leave(slot: &Slot, future: &Bound<'_, FutureCore>) {
    let py = future.py();
    let raise = || {
        // Known since the stop: this looks nothing up.
        errors::cancelled(py).is_ok_and(|class| {
            async_exception::raise_in(slot.thread.ident, class);
            true
        })
    };
    slot.leave(key_of(future), || async_exception::absorb(py), raise);
}

/// A future is its task's key: it lives until the thread has left the task.
#[inline]
fn key_of(future: &Bound<'_, FutureCore>) -> TaskKey {
    TaskKey(future.as_ptr() as usize)
}

/// The innermost task of each thread.
pub fn running<'py>(threads: &ThreadSet, py: Python<'py>) -> Vec<Bound<'py, FutureCore>> {
    threads.map_running(|TaskKey(address)| {
        // SAFETY: a key is the address of a future, which is alive while it is listed.
        unsafe {
            Bound::from_borrowed_ptr(py, address as *mut ffi::PyObject)
                .cast_into_unchecked::<FutureCore>()
        }
    })
}

impl LocalTask {
    /// A task for `threads`, submitted now.
    #[inline]
    pub fn new(threads: Arc<ThreadSet>, call: Call, options: Option<Box<Options>>) -> Self {
        Self {
            call: UnsafeCell::new(Some(call)),
            threads,
            slot: AtomicPtr::new(std::ptr::null_mut()),
            options,
            submitted_ns: monotonic_ns(),
            started_ns: AtomicU64::new(0),
            finished_ns: AtomicU64::new(0),
        }
    }

    /// The name given with `options(name=…)`.
    pub fn name(&self) -> Option<&str> {
        self.options.as_ref().and_then(|options| options.name.as_deref())
    }

    /// Cleans up after `ending`, which the caller brought about before the task was over: what
    /// has not started is forgotten, what runs is interrupted.
    pub fn stop(&self, future: &Bound<'_, FutureCore>, ending: &Ending, grace: Duration) {
        if !ending.was_running() {
            self.forget_call();
            return;
        }
        let py = future.py();
        // SAFETY: set before the claim, which the caller's end of the completion acquired; slots
        // live as long as their set.
        let Some(slot) = (unsafe { self.slot.load(Ordering::Relaxed).as_ref() }) else { return };
        // Looked up before the slot's lock is taken: an import may let go of the GIL, and a worker
        // that gets it then would wait for the lock with it.
        let Ok(class) = errors::cancelled(py) else { return };
        let raise = || {
            async_exception::raise_in(slot.thread.ident, class);
            true
        };
        if !slot.interrupt(key_of(future), raise) {
            return;
        }
        let threads = Arc::clone(&self.threads);
        let stopped = future.clone().unbind();
        let slot = AtomicPtr::new(std::ptr::from_ref(slot).cast_mut());
        let retire = Box::new(move |py: Python<'_>| {
            // SAFETY: slots live as long as their set, which this closure keeps.
            let slot = unsafe { &*slot.into_inner() };
            let forget = || threads.kind.forget(py, &slot.thread.name);
            let key = key_of(stopped.bind(py));
            if let Err(error) = threads.retire_if_in(py, slot, key, forget) {
                error.write_unraisable(py, None);
            }
        });
        // Without a dispatcher (at interpreter exit) nobody needs the worker replaced.
        drop(dispatcher::arm(py, Deadline::after(grace), retire));
    }

    /// Drops what would have been called. Only for whoever cancelled the completion.
    pub fn forget_call(&self) {
        drop(self.take_call());
    }

    /// Adds times and the worker's name.
    pub fn statistics(&self, statistics: &Bound<'_, PyDict>) -> PyResult<()> {
        let seconds = |ns: u64| (ns != 0).then_some(ns as f64 / 1e9);
        let started_ns = self.started_ns.load(Ordering::Relaxed);
        statistics.set_item("submitted", seconds(self.submitted_ns))?;
        statistics.set_item("started", seconds(started_ns))?;
        statistics.set_item("finished", seconds(self.finished_ns.load(Ordering::Relaxed)))?;
        // SAFETY: as in `stop`; read after `started_ns`, which follows it.
        let slot = unsafe { self.slot.load(Ordering::Relaxed).as_ref() };
        let worker = slot.filter(|_| started_ns != 0).map(|slot| slot.thread.name.as_str());
        statistics.set_item("worker", worker)
    }

    /// Shows a call that waits to the garbage collector.
    pub fn traverse(&self, phase: Phase, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if phase != Phase::Pending {
            return Ok(());
        }
        // SAFETY: only a thread that ended the PENDING phase touches the call, and it does so
        // without giving the collector a chance to run in between.
        if let Some(call) = unsafe { &*self.call.get() } {
            visit.call(&call.function)?;
            visit.call(&call.args)?;
            visit.call(&call.kwargs)?;
        }
        Ok(())
    }

    fn take_call(&self) -> Option<Call> {
        // SAFETY: called by the one thread that claimed or cancelled the completion.
        unsafe { (*self.call.get()).take() }
    }

    /// Ends the future with TimeoutError, and stops its body, when its time is over.
    fn arm_timeout(&self, future: &Bound<'_, FutureCore>) -> Option<dispatcher::TimerId> {
        let timeout = self.options.as_ref()?.timeout?;
        let running = future.clone().unbind();
        let job = Box::new(move |py: Python<'_>| {
            let future = running.bind(py);
            let Kind::Local(task) = future.get().kind() else { return };
            let error = errors::error_of(errors::timeout_error(py), task.overdue(timeout));
            let Some(ending) = future.get().try_settle(Err(error.into_value(py).into_any())) else {
                return;
            };
            task.stop(future, &ending, TIMEOUT_GRACE);
            announce(future, ending);
        });
        dispatcher::arm(future.py(), Deadline::after(timeout), job).ok()
    }

    fn overdue(&self, timeout: Duration) -> String {
        let name = self.name().map(|name| format!(" '{name}'")).unwrap_or_default();
        let seconds = timeout.as_secs_f64();
        format!("the task{name} ran longer than its timeout of {seconds} s and was stopped")
    }
}

impl Call {
    /// What it was called with is dropped on return: before anybody is told of the end.
    #[inline]
    fn run(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let kwargs = self.kwargs.as_ref().map(|kwargs| kwargs.bind(py));
        call(self.function.bind(py), self.args.bind(py), kwargs).map(Bound::unbind)
    }
}
