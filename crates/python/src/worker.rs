//! A worker thread of a thread pool, and the task it runs.
//!
//! The thread is a Python thread; its loop is here. A slot stands for one thread: which task it
//! runs, and whether it is being stopped.
//!
//! Stopping is exact, because the future's completion decides who may stop what:
//!
//! | canceller (or timer)                        | worker                                        |
//! |---------------------------------------------|-----------------------------------------------|
//! | ends the completion: it is the only one     | its own settle fails: it knows it was stopped |
//! | slot lock; does it still run that task?     | slot lock; it runs nothing now                |
//! | yes: async exception; no: nothing to do     | clears an async exception that is still there |
//!
//! Whoever comes second sees what the first did. The worker clears in Rust, before any further
//! bytecode: the exception never reaches the next task, nor the loop.
//!
//! What it does not do: an async exception is delivered at the next bytecode. A body that sits in
//! C code ends only when that returns; its future has ended long before, and after the grace
//! another worker takes its place.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use manyhands_pool::completion::{Ending, Phase};
use manyhands_pool::injector::{Next, Offer};
use manyhands_sys::clock::{Deadline, monotonic_ns};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, ffi};

use crate::async_exception;
use crate::call::call;
use crate::crew::Crew;
use crate::dispatcher;
use crate::errors;
use crate::future::{FutureCore, Kind};

/// A task of a thread pool: the part of its future that the pool needs.
pub struct LocalTask {
    /// Taken by whoever claims or cancels the completion.
    call: UnsafeCell<Option<Call>>,
    crew: Arc<Crew>,
    /// The slot of the worker that runs it; set before it is claimed, lives as long as `crew`.
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

/// One worker thread.
pub struct Slot {
    thread_id: std::ffi::c_ulong,
    /// The name of the thread.
    pub name: String,
    /// Nothing that may run Python, or let go of the GIL, is done under this lock.
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    /// The tasks this thread is in, the innermost last. Borrowed: each lives until it is popped.
    running: Vec<RunningTask>,
    /// An async exception was raised in this thread and not cleared yet.
    is_interrupted: bool,
    /// Its place was given to another worker: it ends when it is free.
    is_retired: bool,
}

struct RunningTask {
    future: *mut ffi::PyObject,
    /// Was stopped while a task inside it ran: it is interrupted when that one ends.
    is_stopped: bool,
    /// Its body has ended: nothing interrupts it any more.
    is_over: bool,
}

// SAFETY: the pointer is compared, and counted only under the lock, while the worker that pushed
// it holds a reference.
unsafe impl Send for RunningTask {}

thread_local! {
    /// The slot of this thread, if it is a worker.
    static SLOT: Cell<*const Slot> = const { Cell::new(std::ptr::null()) };
    /// The crew of this thread, if it is a worker.
    static CREW: Cell<*const Crew> = const { Cell::new(std::ptr::null()) };
}

/// How long a body that is stopped at its timeout may take to leave before its worker is replaced.
const TIMEOUT_GRACE: Duration = Duration::from_millis(100);

/// After this many tasks in a row a worker offers the GIL: bodies that are C functions never do.
const N_TASKS_PER_TURN: u32 = 64;

/// Whether the calling thread is a worker.
#[inline]
pub fn is_worker() -> bool {
    !SLOT.get().is_null()
}

/// A forked child has one thread; if it was a worker, its crew is gone.
pub fn forget_after_fork() {
    SLOT.set(std::ptr::null());
    CREW.set(std::ptr::null());
}

/// Raises, in a worker, the exception with which its task is being stopped: for waits that
/// bytecode-bound delivery does not reach.
pub fn check_stopped(py: Python<'_>) -> PyResult<()> {
    // SAFETY: a non-null slot belongs to this thread's crew, which the thread keeps alive.
    let Some(slot) = (unsafe { SLOT.get().as_ref() }) else { return Ok(()) };
    let mut state = slot.lock();
    if !std::mem::take(&mut state.is_interrupted) {
        return Ok(());
    }
    drop(state);
    // What it is stopped with is raised here instead.
    async_exception::absorb(py);
    Err(errors::error_of(errors::cancelled(py), "the task was stopped"))
}

/// Runs `future` here if the calling thread is a worker that would otherwise wait for its own
/// pool while no other worker is free.
pub fn help(future: &Bound<'_, FutureCore>) {
    let Kind::Local(task) = future.get().kind() else { return };
    if !std::ptr::eq(CREW.get(), Arc::as_ptr(&task.crew)) || task.crew.queue.n_idle() > 0 {
        return;
    }
    // SAFETY: this thread works for the task's crew, so it has a slot that the crew keeps.
    let slot = unsafe { &*SLOT.get() };
    if let Some(ending) = run(future, task, slot) {
        announce(future, ending);
    }
}

/// The loop of a worker thread, from its initializer on.
pub fn work(py: Python<'_>, crew: &Arc<Crew>, slot: &Slot) {
    SLOT.set(slot);
    CREW.set(Arc::as_ptr(crew));
    if crew.initialize(py) {
        run_tasks(py, crew, slot);
    }
    SLOT.set(std::ptr::null());
    CREW.set(std::ptr::null());
}

fn run_tasks(py: Python<'_>, crew: &Crew, slot: &Slot) {
    let mut n_tasks = 0;
    let mut next = None;
    loop {
        let future = match next.take().map_or_else(|| crew.queue.pop_or_idle(), Offer::Now) {
            Offer::Now(Next::Closed) => return,
            Offer::Now(Next::Item(future)) => future,
            Offer::Idle => {
                next = Some(py.detach(|| crew.queue.sleep()));
                continue;
            }
        };
        let future: Bound<'_, FutureCore> = future.into_bound(py);
        let Kind::Local(task) = future.get().kind() else { continue };
        let ending = run(&future, task, slot);
        if slot.lock().is_retired {
            if let Some(ending) = ending {
                announce(&future, ending);
            }
            return;
        }
        n_tasks += 1;
        match ending {
            Some(ending) if ending.has_watchers() => announce(&future, ending),
            Some(ending) if ending.has_sleepers() => {
                // Nothing of this task is kept while the worker waits for the next one.
                let waker = future.get().completion().waker();
                drop(future);
                match crew.queue.pop_or_idle() {
                    // Who sleeps needs the GIL next: wake it when the GIL is free.
                    Offer::Idle => {
                        next = Some(py.detach(|| {
                            waker.wake_all();
                            crew.queue.sleep()
                        }));
                    }
                    Offer::Now(now) => {
                        waker.wake_all();
                        next = Some(now);
                    }
                }
                continue;
            }
            _ => {}
        }
        if n_tasks % N_TASKS_PER_TURN == 0 {
            drop(future);
            py.detach(|| {});
        }
    }
}

/// Runs a task that nobody else has claimed. Returns its end, if this call brought it about.
fn run(future: &Bound<'_, FutureCore>, task: &LocalTask, slot: &Slot) -> Option<Ending> {
    let (py, core) = (future.py(), future.get());
    task.slot.store(std::ptr::from_ref(slot).cast_mut(), Ordering::Relaxed);
    slot.push(future);
    // The claim publishes the slot: meets the Acquire of whoever ends a running task.
    if !core.completion().claim() {
        slot.pop(future);
        return None;
    }
    task.started_ns.store(monotonic_ns(), Ordering::Relaxed);
    let timer = task.arm_timeout(future);
    let outcome = task.take_call().map_or_else(|| Ok(py.None()), |call| call.run(py));
    if let Some(timer) = timer {
        dispatcher::disarm(timer);
    }
    task.finished_ns.store(monotonic_ns(), Ordering::Relaxed);
    task.crew.count_finished();
    let ending = core.try_settle(outcome.map_err(|error| error.into_value(py).into_any()));
    slot.pop(future);
    ending
}

fn announce(future: &Bound<'_, FutureCore>, ending: Ending) {
    if let Err(error) = FutureCore::announce(future, ending) {
        let message = "exception calling callback for %r";
        errors::log_exception(future.py(), "critical", message, Some(future.as_any()), &error);
    }
}

impl LocalTask {
    /// A task for `crew`, submitted now.
    #[inline]
    pub fn new(crew: Arc<Crew>, call: Call, options: Option<Box<Options>>) -> Self {
        Self {
            call: UnsafeCell::new(Some(call)),
            crew,
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
        // live as long as their crew.
        let Some(slot) = (unsafe { self.slot.load(Ordering::Relaxed).as_ref() }) else { return };
        if !slot.interrupt(py, future) {
            return;
        }
        let crew = Arc::clone(&self.crew);
        let stopped = future.clone().unbind();
        let slot_address = std::ptr::from_ref(slot) as usize;
        let deadline = Deadline::after(grace);
        let retire = Box::new(move |py: Python<'_>| {
            crew.retire_if_stuck(py, slot_address, stopped.bind(py));
        });
        // Without a dispatcher (at interpreter exit) nobody needs the worker replaced.
        drop(dispatcher::arm(py, deadline, retire));
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
        let worker = slot.filter(|_| started_ns != 0).map(|slot| slot.name.as_str());
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

unsafe extern "C" {
    /// The number by which `PyThreadState_SetAsyncExc` knows this thread.
    #[link_name = "PyThread_get_thread_ident"]
    pub fn get_thread_ident() -> std::ffi::c_ulong;
}

impl Slot {
    /// The slot of the calling thread.
    pub fn of_this_thread(name: String) -> Self {
        // SAFETY: takes nothing and cannot fail.
        let thread_id = unsafe { get_thread_ident() };
        Self { thread_id, name, state: Mutex::default() }
    }

    /// The innermost task that runs here.
    pub fn current<'py>(&self, py: Python<'py>) -> Option<Bound<'py, FutureCore>> {
        let state = self.lock();
        let running = state.running.last()?;
        // SAFETY: under the lock a task that is listed is held by its worker, and it is a future.
        Some(unsafe {
            Bound::from_borrowed_ptr(py, running.future).cast_into_unchecked::<FutureCore>()
        })
    }

    /// Gives up on this thread if it still runs `future`. True if it does.
    pub fn retire_if_running(&self, future: &Bound<'_, FutureCore>) -> bool {
        let mut state = self.lock();
        let is_stuck = state.find(future).is_some() && !state.is_retired;
        state.is_retired |= is_stuck;
        is_stuck
    }

    /// Whether the thread's place was given to another one.
    pub fn is_retired(&self) -> bool {
        self.lock().is_retired
    }

    #[inline]
    fn push(&self, future: &Bound<'_, FutureCore>) {
        let running = RunningTask { future: future.as_ptr(), is_stopped: false, is_over: false };
        self.lock().running.push(running);
    }

    /// The task is over: what was meant for it never reaches another one.
    #[inline]
    fn pop(&self, future: &Bound<'_, FutureCore>) {
        let mut state = self.lock();
        debug_assert!(state.running.last().is_some_and(|last| last.future == future.as_ptr()));
        if state.is_interrupted {
            if let Some(over) = state.running.last_mut() {
                over.is_over = true;
            }
            drop(state);
            // Not under the lock: this runs Python.
            async_exception::absorb(future.py());
            state = self.lock();
            state.is_interrupted = false;
        }
        state.running.pop();
        if let Some(outer) = state.running.last_mut()
            && std::mem::take(&mut outer.is_stopped)
        {
            // Known since the stop: this looks nothing up.
            if let Ok(class) = errors::cancelled(future.py()) {
                self.raise_async(class, &mut state);
            }
        }
    }

    /// Raises `Cancelled` in this thread if it still runs `future`. True if it does.
    fn interrupt(&self, py: Python<'_>, future: &Bound<'_, FutureCore>) -> bool {
        // Looked up before the lock is taken: an import may let go of the GIL, and a worker that
        // gets it then would wait for the lock with it.
        let Ok(class) = errors::cancelled(py) else { return false };
        let mut state = self.lock();
        let Some(at) = state.find(future) else { return false };
        if state.running[at].is_over {
            return false;
        }
        if at + 1 == state.running.len() {
            self.raise_async(class, &mut state);
        } else {
            state.running[at].is_stopped = true;
        }
        true
    }

    fn raise_async(&self, class: &Bound<'_, PyType>, state: &mut SlotState) {
        async_exception::raise_in(self.thread_id, class);
        state.is_interrupted = true;
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl SlotState {
    fn find(&self, future: &Bound<'_, FutureCore>) -> Option<usize> {
        self.running.iter().position(|running| running.future == future.as_ptr())
    }
}
