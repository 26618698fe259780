//! The threads of one `ThreadPoolExecutor` and the queue they work from.
//!
//! Owned by the executor, by its threads and by its tasks: work that is queued is done even if
//! the executor is dropped. Threads are Python threads, started when a task finds no idle one.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use manyhands_pool::injector::{Injector, Pushed};
use manyhands_sys::machine::n_most_processes;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyTuple};

use crate::call::call;
use crate::contract;
use crate::errors;
use crate::fork::Generation;
use crate::future::{self, FutureCore, Kind};
use crate::worker::{self, Call, LocalTask, Options, Slot};

/// The threads of one executor and their queue.
pub struct Crew {
    /// The tasks that wait.
    pub queue: Injector<Py<FutureCore>>,
    n_max_threads: usize,
    /// Nothing that may run Python, or let go of the GIL, is done under this lock.
    roster: Mutex<Roster>,
    /// Whether there are as many threads as there may be; a hint that spares a look at the roster.
    is_complete: AtomicBool,
    settings: Settings,
    /// The `threading.Thread`s that work, shown as `executor._threads`.
    pub threads: Py<PySet>,
    is_broken: AtomicBool,
    generation: Generation,
    n_submitted: AtomicU64,
    n_finished: AtomicU64,
}

/// How threads are started.
pub struct Settings {
    /// Their names are `PREFIX_0`, `PREFIX_1`, …
    pub thread_name_prefix: String,
    /// Called first in every thread.
    pub initializer: Option<Py<PyAny>>,
    /// With these arguments.
    pub initargs: Py<PyTuple>,
    /// Bytes of stack, None for the system's default.
    pub stack_size: Option<usize>,
}

#[derive(Default)]
struct Roster {
    n_live: usize,
    n_started: usize,
    /// Boxed: tasks point to them. They live as long as the crew.
    #[allow(clippy::vec_box, reason = "the addresses are kept by tasks and must not move")]
    slots: Vec<Box<Slot>>,
}

/// The sentence of `BrokenThreadPool`, as in the standard module.
const BROKEN: &str = "A thread initializer failed, the thread pool is not usable anymore";

/// Set when the interpreter ends: no executor takes tasks any more.
static IS_INTERPRETER_ENDING: AtomicBool = AtomicBool::new(false);

/// How many executors have been named by number.
static N_NAMED: AtomicUsize = AtomicUsize::new(0);

/// From now on every `submit` is refused: the interpreter ends.
#[pyfunction]
pub fn refuse_new_tasks() {
    IS_INTERPRETER_ENDING.store(true, Ordering::Release);
}

/// Whether [`refuse_new_tasks`] was called; process pools ask too.
pub fn is_interpreter_ending() -> bool {
    IS_INTERPRETER_ENDING.load(Ordering::Acquire)
}

/// The refusal of a closed executor.
pub fn closed_error() -> PyErr {
    PyRuntimeError::new_err(if is_interpreter_ending() {
        "cannot schedule new futures after interpreter shutdown"
    } else {
        "cannot schedule new futures after shutdown"
    })
}

/// The number in `ThreadPoolExecutor-N`.
pub fn next_executor_number() -> usize {
    N_NAMED.fetch_add(1, Ordering::Relaxed)
}

/// The body of a worker thread.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct WorkLoop {
    crew: Arc<Crew>,
    name: String,
    /// The address of the thread's slot, once it runs.
    slot: OnceLock<usize>,
    /// Decided once: by the thread that begins, or by the starter that gives it up.
    fate: AtomicU8,
}

const STARTING: u8 = 0;
const BEGUN: u8 = 1;
const ABANDONED: u8 = 2;

#[pymethods]
impl WorkLoop {
    fn __call__(&self, py: Python<'_>) {
        let crew = &self.crew;
        if !self.decide(BEGUN) {
            return;
        }
        let slot = crew.add_slot(Slot::of_this_thread(self.name.clone()));
        // SAFETY: the crew keeps the slot, boxed, as long as it lives; `self.crew` keeps the crew.
        let slot = unsafe { &*slot };
        let _ = self.slot.set(std::ptr::from_ref(slot) as usize);
        worker::work(py, crew, slot);
        // One that was retired has left the roster already.
        if !slot.is_retired() {
            drop(crew.thread_is_gone());
        }
    }

    /// Gives the thread up before it begins. False if it has begun: a Ctrl-C can interrupt
    /// `Thread.start()` after the thread was started.
    fn abandon(&self) -> bool {
        self.decide(ABANDONED)
    }

    /// Whether the thread's place was given to another one, because it did not leave a task.
    #[getter]
    fn is_retired(&self) -> bool {
        self.slot.get().is_some_and(|address| self.crew.is_retired(*address))
    }

    /// Closes the crew; called when the interpreter ends.
    fn close(&self) {
        self.crew.queue.close();
    }

    /// Cancels what waits and interrupts what runs.
    fn stop_all(&self, py: Python<'_>) {
        self.crew.stop_all(py);
    }
}

impl WorkLoop {
    /// True if `fate` is, now or already, the one decided on.
    fn decide(&self, fate: u8) -> bool {
        self.fate
            .compare_exchange(STARTING, fate, Ordering::AcqRel, Ordering::Acquire)
            .map_or_else(|decided| decided == fate && fate == ABANDONED, |_| true)
    }
}

impl Crew {
    /// A crew without threads.
    pub fn new(py: Python<'_>, n_max_threads: usize, settings: Settings) -> PyResult<Self> {
        Ok(Self {
            queue: Injector::new(),
            n_max_threads,
            roster: Mutex::default(),
            is_complete: AtomicBool::new(false),
            settings,
            threads: PySet::empty(py)?.unbind(),
            is_broken: AtomicBool::new(false),
            generation: Generation::current(),
            n_submitted: AtomicU64::new(0),
            n_finished: AtomicU64::new(0),
        })
    }

    /// Queues a call and returns its future.
    ///
    /// # Errors
    /// BrokenThreadPool, RuntimeError after shutdown or in a forked child.
    #[inline]
    pub fn submit<'py>(
        self: &Arc<Self>,
        py: Python<'py>,
        call: Call,
        options: Option<Box<Options>>,
    ) -> PyResult<Bound<'py, FutureCore>> {
        self.check(py)?;
        let task = LocalTask::new(Arc::clone(self), call, options);
        let future = future::create(py, Kind::Local(task))?;
        match self.queue.push(future.clone().unbind()) {
            Ok(Pushed::Taken) => {}
            // A task whose future nobody gets must not run.
            Ok(Pushed::NeedsWorker) => {
                self.start_thread(py).inspect_err(|_| {
                    future.get().completion().cancel();
                })?;
            }
            Err(_) => return Err(closed_error()),
        }
        self.n_submitted.fetch_add(1, Ordering::Relaxed);
        Ok(future)
    }

    /// Starts the threads that are missing, without waiting for tasks that need them; none if the
    /// system could never have them all.
    ///
    /// # Errors
    /// RuntimeError if not even one can be started.
    pub fn start_missing(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        if self.n_max_threads > n_most_processes() {
            return Ok(());
        }
        while self.start_thread(py)? {}
        Ok(())
    }

    /// Runs the initializer; if it fails the pool is broken and the thread must end.
    pub fn initialize(&self, py: Python<'_>) -> bool {
        let Some(initializer) = &self.settings.initializer else { return true };
        let Err(error) = call(initializer.bind(py), self.settings.initargs.bind(py), None) else {
            return true;
        };
        errors::log_exception(py, "critical", "Exception in initializer:", None, &error);
        self.is_broken.store(true, Ordering::Release);
        for future in self.queue.drain() {
            let future = future.into_bound(py);
            let broken = errors::error_of(errors::broken_thread_pool(py), BROKEN);
            let error = broken.into_value(py).into_any();
            if let Some(ending) = future.get().try_settle(Err(error)) {
                if let Kind::Local(task) = future.get().kind() {
                    task.forget_call();
                }
                if let Err(error) = FutureCore::announce(&future, ending) {
                    error.write_unraisable(py, Some(future.as_any()));
                }
            }
        }
        false
    }

    /// Why the pool is broken, if it is.
    pub fn broken(&self) -> Option<&'static str> {
        self.is_broken.load(Ordering::Acquire).then_some(BROKEN)
    }

    /// Cancels the tasks that wait.
    pub fn cancel_queued(&self, py: Python<'_>) -> PyResult<()> {
        for future in self.queue.drain() {
            future.bind(py).call_method0("cancel")?;
        }
        Ok(())
    }

    /// Takes no more tasks, cancels what waits, interrupts what runs, without waiting for it.
    pub fn stop_all(&self, py: Python<'_>) {
        self.queue.close();
        if !self.generation.is_current() {
            return;
        }
        let running: Vec<_> =
            self.lock_roster().slots.iter().filter_map(|slot| slot.current(py)).collect();
        let queued = self.queue.drain();
        for future in queued.into_iter().map(|future| future.into_bound(py)).chain(running) {
            let completion = future.get().completion();
            let Some(ending) = completion.try_cancel_running() else { continue };
            if let Kind::Local(task) = future.get().kind() {
                task.stop(&future, &ending, std::time::Duration::ZERO);
            }
            if let Err(error) = FutureCore::announce(&future, ending) {
                error.write_unraisable(py, Some(future.as_any()));
            }
        }
    }

    /// Replaces the worker of the slot at `slot_address` if it still runs `stopped`.
    pub fn retire_if_stuck(
        self: &Arc<Self>,
        py: Python<'_>,
        slot_address: usize,
        stopped: &Bound<'_, FutureCore>,
    ) {
        let mut roster = self.lock_roster();
        let slot =
            roster.slots.iter().find(|slot| std::ptr::from_ref(&***slot) as usize == slot_address);
        let Some(name) =
            slot.filter(|slot| slot.retire_if_running(stopped)).map(|s| s.name.clone())
        else {
            return;
        };
        roster.n_live -= 1;
        self.is_complete.store(false, Ordering::Relaxed);
        drop(roster);
        let replaced = self
            .forget_thread(py, &name)
            .and_then(|()| if self.queue.is_empty() { Ok(false) } else { self.start_thread(py) });
        if let Err(error) = replaced {
            error.write_unraisable(py, None);
        }
    }

    /// Counts a task that ran to its end.
    #[inline]
    pub fn count_finished(&self) {
        self.n_finished.fetch_add(1, Ordering::Relaxed);
    }

    /// Numbers for `executor.statistics()`.
    pub fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let roster = self.lock_roster();
        let (n_live, n_started) = (roster.n_live, roster.n_started);
        drop(roster);
        let statistics = PyDict::new(py);
        statistics.set_item("max_workers", self.n_max_threads)?;
        statistics.set_item("workers", n_live)?;
        statistics.set_item("workers_started", n_started)?;
        statistics.set_item("idle_workers", self.queue.n_idle())?;
        statistics.set_item("queued", self.queue.len())?;
        statistics.set_item("submitted", self.n_submitted.load(Ordering::Relaxed))?;
        statistics.set_item("finished", self.n_finished.load(Ordering::Relaxed))?;
        Ok(statistics)
    }

    /// The most threads there may be.
    pub fn n_max_threads(&self) -> usize {
        self.n_max_threads
    }

    /// The process line the crew's threads live in.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    #[inline]
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.generation.check("executor")?;
        if let Some(reason) = self.broken() {
            return Err(errors::error_of(errors::broken_thread_pool(py), reason));
        }
        if is_interpreter_ending() { Err(closed_error()) } else { Ok(()) }
    }

    /// Starts another thread unless there are enough; whether it did. Failing is an error only if
    /// none is left to do the work.
    #[inline]
    fn start_thread(self: &Arc<Self>, py: Python<'_>) -> PyResult<bool> {
        if self.is_complete.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut roster = self.lock_roster();
        if roster.n_live >= self.n_max_threads {
            self.is_complete.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        roster.n_live += 1;
        let number = roster.n_started;
        roster.n_started += 1;
        drop(roster);
        self.start_numbered(py, number)
    }

    #[cold]
    fn start_numbered(self: &Arc<Self>, py: Python<'_>, number: usize) -> PyResult<bool> {
        let name = format!("{}_{number}", self.settings.thread_name_prefix);
        let work = WorkLoop {
            crew: Arc::clone(self),
            name: name.clone(),
            slot: OnceLock::new(),
            fate: AtomicU8::new(STARTING),
        };
        let work = Bound::new(py, work)?;
        let args = (&work, name, self.settings.stack_size, &self.threads);
        let start = contract::START_WORKER_THREAD.get(py)?;
        let Err(error) = call(start, &args.into_pyobject(py)?, None) else { return Ok(true) };
        let are_there_others =
            if work.get().abandon() { self.thread_is_gone().n_live > 0 } else { true };
        // No more threads for now: those that are there do the work. A KeyboardInterrupt is
        // passed on in any case.
        if are_there_others && error.is_instance_of::<PyRuntimeError>(py) {
            return Ok(false);
        }
        Err(error)
    }

    /// Takes a thread off `executor._threads`: nobody waits for it any more.
    fn forget_thread(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let forget = contract::FORGET_THREAD.get(py)?;
        call(forget, &(name, &self.threads).into_pyobject(py)?, None).map(drop)
    }

    fn is_retired(&self, slot_address: usize) -> bool {
        self.lock_roster().slot_at(slot_address).is_some_and(Slot::is_retired)
    }

    fn thread_is_gone(&self) -> MutexGuard<'_, Roster> {
        let mut roster = self.lock_roster();
        roster.n_live -= 1;
        self.is_complete.store(false, Ordering::Relaxed);
        roster
    }

    fn add_slot(&self, slot: Slot) -> *const Slot {
        let mut roster = self.lock_roster();
        roster.slots.push(Box::new(slot));
        roster.slots.last().map_or(std::ptr::null(), |slot| std::ptr::from_ref(&**slot))
    }

    fn lock_roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Roster {
    fn slot_at(&self, address: usize) -> Option<&Slot> {
        self.slots
            .iter()
            .map(|slot| &**slot)
            .find(|slot| std::ptr::from_ref(*slot) as usize == address)
    }
}
