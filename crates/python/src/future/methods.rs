//! What Python sees of `FutureCore`.

use std::cell::UnsafeCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use manyhands_pool::completion::{Completion, Phase};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::core::{FutureCore, Kind};
use crate::chain;
use crate::contract;
use crate::errors;
use crate::fork::Generation;
use crate::interrupt;
use crate::observer::Observer;
use crate::outcome::OutcomeCell;

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
            Some(observer) => Self::tell(slf, observer),
            None => Ok(()),
        }
    }

    /// Marks the future as running; False if it was cancelled.
    fn set_running_or_notify_cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::notice_cancel(slf)
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
        Self::force_state(slf, state)
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
            Some(observer) if !was_done => Self::tell(slf, observer),
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
