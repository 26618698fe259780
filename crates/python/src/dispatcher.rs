//! The one Python thread that runs what a completion or a deadline makes necessary.
//!
//! Rust threads never attach to the interpreter. What needs Python because a task in another
//! process has ended (done-callbacks), or because time is over (a thread task's timeout), is
//! posted here and run by `manyhands-dispatcher`: a Python daemon thread, started when it is first
//! needed, that sleeps in Rust without the GIL.
//!
//! Guarantees: jobs run in the order in which they were posted; a timer runs at its deadline or
//! later, or never if it was disarmed; an exception of one is reported to `sys.unraisablehook`
//! and concerns no other.
//!
//! What it does not do: a job that blocks delays those behind it. Callbacks that wait belong
//! into an executor.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use manyhands_pool::completion::Completion;

use crate::contract;
use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::futex::{Futex, Private};
use manyhands_sys::per_process::PerProcess;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What the dispatcher runs, attached.
pub type Job = Box<dyn FnOnce(Python<'_>) + Send>;

/// The name of an armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    deadline: Deadline,
    serial: u64,
}

struct Dispatcher {
    agenda: Mutex<Agenda>,
    /// Moves whenever the thread has to look at the agenda again.
    bell: Futex<Private>,
    is_started: AtomicBool,
}

struct Agenda {
    jobs: VecDeque<Job>,
    timers: BTreeMap<TimerId, Job>,
    next_serial: u64,
}

static CURRENT: PerProcess<Dispatcher> = PerProcess::new();

thread_local! {
    static IS_DISPATCHER: Cell<bool> = const { Cell::new(false) };
}

/// Starts the thread unless it runs.
///
/// # Errors
/// RuntimeError when the interpreter is shutting down or no thread can be started.
pub fn ensure_started(py: Python<'_>) -> PyResult<()> {
    let dispatcher = current();
    if dispatcher.is_started.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    start_thread(py).inspect_err(|_| dispatcher.is_started.store(false, Ordering::Release))
}

/// Lets the dispatcher run `job`. Needs no GIL. The thread must have been started.
pub fn post(job: Job) {
    let dispatcher = current();
    dispatcher.lock().jobs.push_back(job);
    dispatcher.ring();
}

/// Lets the dispatcher call `job()`, after what was posted before.
///
/// # Errors
/// As for [`ensure_started`].
#[pyfunction]
pub fn call_soon(py: Python<'_>, job: Py<PyAny>) -> PyResult<()> {
    ensure_started(py)?;
    post(Box::new(move |py| {
        if let Err(error) = job.call0(py) {
            error.write_unraisable(py, Some(job.bind(py)));
        }
    }));
    Ok(())
}

/// Waits until every job posted so far has run. At once in a job, which would wait for itself.
#[pyfunction]
pub fn flush_callbacks(py: Python<'_>) -> PyResult<()> {
    let dispatcher = current();
    if IS_DISPATCHER.get() || !dispatcher.is_started.load(Ordering::Acquire) {
        return Ok(());
    }
    let reached = Arc::new(Completion::new());
    let marker = Arc::clone(&reached);
    post(Box::new(move |_py| {
        marker.settle(|| {});
    }));
    crate::interrupt::wait(py, None, |slice| reached.wait(slice))?;
    Ok(())
}

/// Lets the dispatcher run `job` at `deadline`.
///
/// # Errors
/// As for [`ensure_started`].
pub fn arm(py: Python<'_>, deadline: Deadline, job: Job) -> PyResult<TimerId> {
    ensure_started(py)?;
    let dispatcher = current();
    let mut agenda = dispatcher.lock();
    let id = TimerId { deadline, serial: agenda.next_serial };
    agenda.next_serial += 1;
    let is_first = agenda.timers.first_key_value().is_none_or(|(first, _)| id < *first);
    agenda.timers.insert(id, job);
    drop(agenda);
    if is_first {
        dispatcher.ring();
    }
    Ok(id)
}

/// Forgets a timer; what it would have run is dropped. False if it has run or runs now.
pub fn disarm(id: TimerId) -> bool {
    let job = current().lock().timers.remove(&id);
    // Dropped outside the lock: it may own anything.
    job.is_some()
}

/// The body of the dispatcher's thread. Returns when the process has been forked away from it.
#[pyfunction]
pub fn run_dispatcher(py: Python<'_>) {
    IS_DISPATCHER.set(true);
    let dispatcher = current();
    while std::ptr::eq(dispatcher, current()) {
        let due = py.detach(|| dispatcher.next_due());
        for job in due {
            job(py);
        }
    }
}

/// Makes a new dispatcher for a forked child. The old one is leaked, with what it was to run:
/// its lock may be held by a thread that is not here to release it.
pub fn forget_after_fork() {
    CURRENT.forget();
}

fn current() -> &'static Dispatcher {
    CURRENT.get()
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self {
            agenda: Mutex::new(Agenda {
                jobs: VecDeque::new(),
                timers: BTreeMap::new(),
                next_serial: 0,
            }),
            bell: Futex::new(0),
            is_started: AtomicBool::new(false),
        }
    }
}

fn start_thread(py: Python<'_>) -> PyResult<()> {
    let keywords = PyDict::new(py);
    keywords.set_item("target", wrap_pyfunction!(run_dispatcher, py)?)?;
    keywords.set_item("name", "manyhands-dispatcher")?;
    keywords.set_item("daemon", true)?;
    let thread = contract::THREAD.now(py)?.call((), Some(&keywords))?;
    thread.call_method0("start")?;
    Ok(())
}

impl Dispatcher {
    /// Sleeps until something is due, and takes it off the agenda.
    fn next_due(&self) -> Vec<Job> {
        loop {
            // Read before the look: a ring after it ends the wait at once.
            let seen = self.bell.load(Ordering::Acquire);
            let (due, deadline) = self.lock().take_due();
            if !due.is_empty() {
                return due;
            }
            self.bell.wait(seen, deadline);
        }
    }

    fn ring(&self) {
        // Release meets the Acquire of `next_due`.
        self.bell.fetch_add(1, Ordering::Release);
        self.bell.wake_one();
    }

    fn lock(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Agenda {
    /// What is due now, and when the next timer is.
    fn take_due(&mut self) -> (Vec<Job>, Option<Deadline>) {
        let mut due: Vec<Job> = self.jobs.drain(..).collect();
        if self.timers.is_empty() {
            return (due, None);
        }
        let now = Deadline::at_ns(monotonic_ns());
        while let Some(timer) = self.timers.first_entry() {
            if timer.key().deadline > now {
                return (due, Some(timer.key().deadline));
            }
            due.push(timer.remove());
        }
        (due, None)
    }
}
