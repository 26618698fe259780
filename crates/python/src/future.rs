//! `FutureCore`: everything that is fast, or must be exact, in `manyhands.Future`.
//!
//! Three kinds share the class: *manual* futures, made and settled by the program; *local* ones,
//! tasks of a thread pool; *remote* ones, tasks of a [`Backend`] that another process works for.
//! All state is a [`Completion`] and two object pointers; `result()` of a finished future takes no
//! lock and never sleeps.
//!
//! Guarantees: what `concurrent.futures.Future` promises; callbacks run exactly once, waiters of
//! the standard `wait`/`as_completed` before them; what a task was called with is freed when its
//! body ends or it is cancelled, not when the future is.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use manyhands_pool::completion::{Completion, Ending, Phase};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, ffi};

use crate::chain;
use crate::contract;
use crate::errors;
use crate::fork::Generation;
use crate::interrupt;
use crate::observer::Observer;
use crate::outcome::OutcomeCell;
use crate::worker::{self, LocalTask};

/// The compiled part of `manyhands.Future`.
#[pyclass(module = "manyhands._runtime", subclass, frozen)]
pub struct FutureCore {
    own: Completion,
    /// Set once, by `create`, before anybody else can see the future.
    kind: UnsafeCell<Kind>,
    outcome: OutcomeCell,
    observers: Mutex<Vec<Observer>>,
    /// An asyncio future mirrors this one: its cancel means "stop it".
    is_chained: AtomicBool,
    /// A manual future's cancel was noticed by `set_running_or_notify_cancel`.
    is_notified: AtomicBool,
    generation: Generation,
}

// SAFETY: `kind` is written before the future is published and only read afterwards; everything
// else guards itself.
unsafe impl Sync for FutureCore {}

/// Where a future's outcome comes from.
pub enum Kind {
    /// From `set_result` and `set_exception`.
    Manual,
    /// From a thread of a `ThreadPoolExecutor`.
    Local(LocalTask),
    /// From another process.
    Remote(Arc<dyn Backend>),
}

/// A task that is worked on elsewhere, as its future needs it.
///
/// The completion must be settled, or cancelled, by the backend; done-callbacks are then run by
/// the dispatcher. All methods are called at most for as long as the future lives.
pub trait Backend: Send + Sync {
    /// How far the task is. The same object for the backend's whole life.
    fn completion(&self) -> &Completion;

    /// Makes the result. Called once, attached, after the completion is finished; Err is the
    /// task's exception. Neither is asked for again.
    fn fetch(&self, py: Python<'_>) -> PyResult<Py<PyAny>>;

    /// Cancels the task, also a running one if `running`, whose body gets `grace` to leave.
    /// True if the future is cancelled now by this call. Called detached.
    fn cancel(&self, running: bool, grace: Duration) -> bool;

    /// Whether the task runs now, for backends that do not tell the completion.
    fn is_running(&self) -> bool {
        self.completion().phase() == Phase::Running
    }

    /// The name the task was given.
    fn name(&self) -> Option<String> {
        None
    }

    /// Adds to what `Future.statistics()` shows.
    fn statistics(&self, statistics: &Bound<'_, PyDict>) -> PyResult<()> {
        let _ = statistics;
        Ok(())
    }
}

static FUTURE_CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Makes `class` (a subclass of `FutureCore`) what executors hand out.
#[pyfunction]
#[pyo3(signature = (class_, /))]
pub fn set_future_class(py: Python<'_>, class_: Py<PyType>) -> PyResult<()> {
    if !class_.bind(py).is_subclass_of::<FutureCore>()? {
        return Err(pyo3::exceptions::PyTypeError::new_err(
            "the future class must be a subclass of FutureCore",
        ));
    }
    let _ = FUTURE_CLASS.set(py, class_);
    crate::process::codec::look_everything_up(py)
}

/// A new future of this kind.
pub fn create(py: Python<'_>, kind: Kind) -> PyResult<Bound<'_, FutureCore>> {
    let class = match FUTURE_CLASS.get(py) {
        Some(class) => class,
        None => {
            contract::FUTURE.get(py)?;
            FUTURE_CLASS.get(py).ok_or_else(|| {
                PyRuntimeError::new_err("the module of the future class did not set it")
            })?
        }
    };
    let raw = class.as_ptr().cast::<ffi::PyTypeObject>();
    // SAFETY: `raw` is a live type derived from FutureCore, so its `tp_new` is ours, which takes
    // any arguments; calling it skips `__init__`, which does nothing.
    let object = unsafe {
        let new = (*raw).tp_new.unwrap_unchecked();
        let nothing = PyTuple::empty(py);
        Bound::from_owned_ptr_or_err(py, new(raw, nothing.as_ptr(), std::ptr::null_mut()))?
    };
    // SAFETY: an instance of a subclass of FutureCore.
    let future: Bound<'_, FutureCore> = unsafe { object.cast_into_unchecked() };
    // SAFETY: nobody else has seen this future yet.
    unsafe { *future.get().kind.get() = kind };
    Ok(future)
}

impl FutureCore {
    /// Where the outcome comes from.
    #[inline]
    pub fn kind(&self) -> &Kind {
        // SAFETY: written once, before the future was published.
        unsafe { &*self.kind.get() }
    }

    /// How far the task is.
    #[inline]
    pub fn completion(&self) -> &Completion {
        match self.kind() {
            Kind::Remote(backend) => backend.completion(),
            _ => &self.own,
        }
    }

    /// Stores a result or an exception and ends the future; None if it was ended before.
    #[inline]
    pub fn try_settle(&self, outcome: Result<Py<PyAny>, Py<PyAny>>) -> Option<Ending> {
        self.own.try_settle(|| match outcome {
            Ok(result) => self.outcome.set_result(result),
            Err(error) => self.outcome.set_error(Some(error)),
        })
    }

    /// Whether the future ended with an exception.
    pub fn has_error(&self, py: Python<'_>) -> bool {
        self.completion().phase() == Phase::Finished && {
            self.load(py);
            self.outcome.has_error()
        }
    }

    /// Tells sleepers and observers of an end of a manual or local future.
    ///
    /// # Errors
    /// An exception of a callback that is no `Exception` (KeyboardInterrupt, SystemExit).
    pub fn announce(slf: &Bound<'_, Self>, ending: Ending) -> PyResult<()> {
        let has_watchers = ending.has_watchers();
        slf.get().completion().announce(ending);
        if has_watchers { Self::run_observers(slf) } else { Ok(()) }
    }

    /// Runs the observers that have not been run: waiters first, as the standard does.
    ///
    /// # Errors
    /// As for [`announce`](Self::announce).
    pub fn run_observers(slf: &Bound<'_, Self>) -> PyResult<()> {
        let core = slf.get();
        let observers = std::mem::take(&mut *core.lock_observers());
        let (mut waiters, callbacks): (Vec<_>, Vec<_>) =
            observers.into_iter().partition(|observer| matches!(observer, Observer::Waiter(_)));
        if core.awaits_notice() {
            core.lock_observers().append(&mut waiters);
        }
        let mut outcome = Ok(());
        for observer in waiters.into_iter().chain(callbacks) {
            if let Err(error) = observer.run(slf) {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Waits until the future is done; false if the deadline comes first.
    ///
    /// # Errors
    /// RuntimeError in a forked child, where nobody would end it; see [`interrupt::wait`].
    pub fn wait(
        slf: &Bound<'_, Self>,
        deadline: Option<manyhands_sys::clock::Deadline>,
    ) -> PyResult<bool> {
        let core = slf.get();
        let completion = core.completion();
        if completion.is_done() {
            return Ok(true);
        }
        core.check_generation()?;
        worker::help(slf);
        if completion.is_done() {
            return Ok(true);
        }
        interrupt::wait(slf.py(), deadline, |slice| completion.wait(slice))
    }

    /// Refuses to wait for a pool that is not in this process.
    pub fn check_generation(&self) -> PyResult<()> {
        match self.kind() {
            Kind::Manual => Ok(()),
            _ => self.generation.check("future"),
        }
    }

    /// The name the task was given.
    pub fn task_name(&self) -> Option<String> {
        match self.kind() {
            Kind::Manual => None,
            Kind::Local(task) => task.name().map(str::to_owned),
            Kind::Remote(backend) => backend.name(),
        }
    }

    fn load(&self, py: Python<'_>) {
        if let Kind::Remote(backend) = self.kind() {
            self.outcome.load(py, || backend.fetch(py));
        }
    }

    /// The outcome of a future that is done.
    #[inline]
    fn value(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.completion().phase() == Phase::Cancelled {
            return Err(errors::error_of(errors::cancelled_error(py), "the task was cancelled"));
        }
        self.load(py);
        match self.outcome.error(py) {
            Some(error) => Err(PyErr::from_value(error.into_bound(py))),
            None => Ok(self.outcome.result(py).unwrap_or_else(|| py.None())),
        }
    }

    fn observe(slf: &Bound<'_, Self>, observer: Observer) -> PyResult<Option<Observer>> {
        let core = slf.get();
        if matches!(core.kind(), Kind::Remote(_)) {
            crate::dispatcher::ensure_started(slf.py())?;
        }
        let mut observers = core.lock_observers();
        let is_early = matches!(observer, Observer::Waiter(_)) && core.awaits_notice();
        if !core.completion().mark_watched() && !is_early {
            return Ok(Some(observer));
        }
        let is_first = observers.is_empty();
        observers.push(observer);
        drop(observers);
        if is_first && let Kind::Remote(backend) = core.kind() {
            let future = slf.clone().unbind();
            // Ends elsewhere, without the GIL: the dispatcher runs the observers. The reference
            // keeps a future alive that only its callback waits for.
            backend.completion().watch(Box::new(move || {
                crate::dispatcher::post(Box::new(move |py| {
                    if let Err(error) = Self::run_observers(future.bind(py)) {
                        error.write_unraisable(py, Some(future.bind(py).as_any()));
                    }
                }));
            }));
        }
        Ok(None)
    }

    fn lock_observers(&self) -> MutexGuard<'_, Vec<Observer>> {
        self.observers.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How far the task is. A remote one may run without its completion knowing.
    fn phase(&self) -> Phase {
        match (self.completion().phase(), self.kind()) {
            (Phase::Pending, Kind::Remote(backend)) if backend.is_running() => Phase::Running,
            (phase, _) => phase,
        }
    }

    /// Whether this is a manual future that was cancelled, but whose maker has not noticed. Its
    /// callbacks have run; the standard `wait` and `as_completed` still wait for the notice.
    fn awaits_notice(&self) -> bool {
        matches!(self.kind(), Kind::Manual)
            && self.own.phase() == Phase::Cancelled
            && !self.is_notified.load(Ordering::Acquire)
    }

    fn state_name(&self) -> &'static str {
        match self.phase() {
            Phase::Pending => "PENDING",
            Phase::Running => "RUNNING",
            Phase::Finished => "FINISHED",
            Phase::Cancelled if self.awaits_notice() => "CANCELLED",
            Phase::Cancelled => "CANCELLED_AND_NOTIFIED",
        }
    }

    fn set(slf: &Bound<'_, Self>, outcome: Result<Py<PyAny>, Py<PyAny>>) -> PyResult<()> {
        let Some(ending) = slf.get().try_settle(outcome) else {
            let sentence = format!("{}: {}", slf.get().state_name(), slf.repr()?);
            return Err(errors::error_of(errors::invalid_state_error(slf.py()), sentence));
        };
        Self::announce(slf, ending)
    }
}

#[pymethods]
impl FutureCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            own: Completion::new(),
            kind: UnsafeCell::new(Kind::Manual),
            outcome: OutcomeCell::new(),
            observers: Mutex::new(Vec::new()),
            is_chained: AtomicBool::new(false),
            is_notified: AtomicBool::new(false),
            generation: Generation::current(),
        }
    }

    /// Returns the task's result, waiting for it at most `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn result(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let core = slf.get();
        if !core.completion().is_done() && !Self::wait(slf, interrupt::deadline_of(timeout)?)? {
            return Err(PyErr::from_type(errors::timeout_error(slf.py())?.clone(), ()));
        }
        core.value(slf.py())
    }

    /// Returns the task's exception or None, waiting for it at most `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn exception(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let (py, core) = (slf.py(), slf.get());
        if !core.completion().is_done() && !Self::wait(slf, interrupt::deadline_of(timeout)?)? {
            return Err(PyErr::from_type(errors::timeout_error(py)?.clone(), ()));
        }
        if core.completion().phase() == Phase::Cancelled {
            return core.value(py).map(Some);
        }
        core.load(py);
        Ok(core.outcome.error(py))
    }

    /// Cancels the task; with `running=True` also one that runs.
    #[pyo3(signature = (*, running=false, grace=0.1))]
    fn cancel(slf: &Bound<'_, Self>, running: bool, grace: f64) -> PyResult<bool> {
        let (py, core) = (slf.py(), slf.get());
        let running =
            running || (core.is_chained.load(Ordering::Relaxed) && chain::is_cancelling(py));
        let grace = Duration::try_from_secs_f64(grace.max(0.0)).unwrap_or(Duration::MAX);
        match core.kind() {
            Kind::Remote(backend) => {
                if py.detach(|| backend.cancel(running, grace)) {
                    // Here and now, as the standard does; the dispatcher finds nothing left.
                    Self::run_observers(slf)?;
                }
            }
            kind => {
                let completion = &core.own;
                let ending =
                    if running { completion.try_cancel_running() } else { completion.try_cancel() };
                if let Some(ending) = ending {
                    if let Kind::Local(task) = kind {
                        task.stop(slf, &ending, grace);
                    }
                    Self::announce(slf, ending)?;
                }
            }
        }
        Ok(core.completion().phase() == Phase::Cancelled)
    }

    /// Whether the task was cancelled.
    fn cancelled(&self) -> bool {
        self.completion().phase() == Phase::Cancelled
    }

    /// Whether the task runs now.
    fn running(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Whether the task is finished or cancelled.
    fn done(&self) -> bool {
        self.completion().is_done()
    }

    /// Calls `fn(future)` when the task is done; at once if it is.
    #[pyo3(signature = (r#fn, /))]
    fn add_done_callback(slf: &Bound<'_, Self>, r#fn: Py<PyAny>) -> PyResult<()> {
        if chain::is_chaining(r#fn.bind(slf.py())) {
            slf.get().is_chained.store(true, Ordering::Relaxed);
            contract::NOTE_CHAINED.get(slf.py())?.call1((slf, &r#fn))?;
        }
        match Self::observe(slf, Observer::Callback(r#fn))? {
            Some(observer) => observer.run(slf),
            None => Ok(()),
        }
    }

    /// Marks the future as running; False if it was cancelled.
    fn set_running_or_notify_cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let core = slf.get();
        if core.completion().phase() == Phase::Cancelled
            && !core.is_notified.swap(true, Ordering::AcqRel)
        {
            Self::run_observers(slf)?;
            return Ok(false);
        }
        if core.completion().phase() == Phase::Pending && core.own.claim() {
            return Ok(true);
        }
        Err(PyRuntimeError::new_err("Future in unexpected state"))
    }

    /// Ends the future with a result.
    #[pyo3(signature = (result, /))]
    fn set_result(slf: &Bound<'_, Self>, result: Py<PyAny>) -> PyResult<()> {
        Self::set(slf, Ok(result))
    }

    /// Ends the future with an exception (None: with the result None, as the standard does).
    #[pyo3(signature = (exception, /))]
    fn set_exception(slf: &Bound<'_, Self>, exception: Option<Py<PyAny>>) -> PyResult<()> {
        match exception {
            Some(exception) => Self::set(slf, Err(exception)),
            None => Self::set(slf, Ok(slf.py().None())),
        }
    }

    /// The name given with `executor.options(name=…)`, or None.
    #[getter]
    fn name(&self) -> Option<String> {
        self.task_name()
    }

    /// What is known of the task: its state, times in seconds of `time.monotonic()`, its worker.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let statistics = PyDict::new(py);
        statistics.set_item("state", self.state_name().to_lowercase())?;
        statistics.set_item("name", self.task_name())?;
        match self.kind() {
            Kind::Manual => {}
            Kind::Local(task) => task.statistics(&statistics)?,
            Kind::Remote(backend) => backend.statistics(&statistics)?,
        }
        Ok(statistics)
    }

    #[getter(_state)]
    fn state(&self) -> &'static str {
        self.state_name()
    }

    /// Moves a manual future on to `state`; there is no way back.
    fn _force_state(slf: &Bound<'_, Self>, state: &str) -> PyResult<()> {
        let core = slf.get();
        let completion = &core.own;
        let ending = match state {
            "RUNNING" => {
                completion.claim();
                None
            }
            "CANCELLED" => completion.try_cancel_running(),
            "CANCELLED_AND_NOTIFIED" => {
                core.is_notified.store(true, Ordering::Release);
                completion.try_cancel_running()
            }
            "FINISHED" => completion.try_settle(|| {}),
            _ => None,
        };
        ending.map_or(Ok(()), |ending| Self::announce(slf, ending))?;
        if core.state_name() == state {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!(
            "a future that is {} cannot become {state}",
            core.state_name()
        )))
    }

    #[getter(_result)]
    fn stored_result(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if self.completion().phase() == Phase::Finished {
            self.load(py);
        }
        self.outcome.result(py)
    }

    #[setter(_result)]
    fn set_stored_result(&self, result: Py<PyAny>) {
        self.outcome.set_result(result);
    }

    #[getter(_exception)]
    fn stored_exception(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if self.completion().phase() == Phase::Finished {
            self.load(py);
        }
        self.outcome.error(py)
    }

    #[setter(_exception)]
    fn set_stored_exception(&self, exception: Option<Py<PyAny>>) {
        self.outcome.set_error(exception);
    }

    /// Tells a waiter of the standard module of the end. It is told at once if the future is
    /// done, unless `was_done` says that whoever adds it knew.
    fn _add_waiter(slf: &Bound<'_, Self>, waiter: Py<PyAny>, was_done: bool) -> PyResult<()> {
        match Self::observe(slf, Observer::Waiter(waiter))? {
            Some(observer) if !was_done => observer.run(slf),
            _ => Ok(()),
        }
    }

    /// Waiters of the standard module that have not been told yet.
    fn _n_waiters(&self) -> usize {
        let is_waiter = |observer: &&Observer| matches!(observer, Observer::Waiter(_));
        self.lock_observers().iter().filter(is_waiter).count()
    }

    fn _remove_waiter(&self, waiter: &Bound<'_, PyAny>) {
        let mut observers = self.lock_observers();
        let at = observers
            .iter()
            .position(|observer| matches!(observer, Observer::Waiter(other) if other.is(waiter)));
        let removed = at.map(|at| observers.remove(at));
        drop(observers);
        drop(removed);
    }

    /// The class name of the exception or of the result, for the repr; None if not known yet.
    fn _outcome_class(&self, py: Python<'_>) -> PyResult<Option<(&'static str, String)>> {
        if matches!(self.kind(), Kind::Remote(_)) && !self.outcome.is_loaded() {
            return Ok(None);
        }
        let (verb, object) = match self.outcome.error(py) {
            Some(error) => ("raised", error),
            None => ("returned", self.outcome.result(py).unwrap_or_else(|| py.None())),
        };
        Ok(Some((verb, object.bind(py).get_type().name()?.to_string())))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.outcome.traverse(visit)?;
        if let Kind::Local(task) = self.kind() {
            task.traverse(self.own.phase(), visit)?;
        }
        // No thread holds this lock where the collector may run.
        if let Ok(observers) = self.observers.try_lock() {
            for observer in observers.iter() {
                match observer {
                    Observer::Callback(object) | Observer::Waiter(object) => visit.call(object)?,
                }
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.outcome.clear();
        let observers = std::mem::take(&mut *self.lock_observers());
        drop(observers);
        if let Kind::Local(task) = self.kind()
            && self.own.cancel()
        {
            task.forget_call();
        }
    }
}
