//! What a future is made of, how it is made, and how one waits for it.

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use manyhands_pool::completion::{Completion, Ending, Phase};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use super::local::{self, LocalTask};
use super::remote::Backend;
use crate::contract;
use crate::errors;
use crate::fork::Generation;
use crate::interrupt;
use crate::observer::Observer;
use crate::outcome::OutcomeCell;

/// The compiled part of `manyhands.Future`.
#[pyclass(module = "manyhands._runtime", subclass, frozen)]
pub struct FutureCore {
    pub(super) own: Completion,
    /// Set once, by `create`, before anybody else can see the future.
    pub(super) kind: UnsafeCell<Kind>,
    pub(super) outcome: OutcomeCell,
    pub(super) observers: Mutex<Vec<Observer>>,
    /// An asyncio future mirrors this one: its cancel means "stop it".
    pub(super) is_chained: AtomicBool,
    /// A manual future's cancel was noticed by `set_running_or_notify_cancel`.
    pub(super) is_notified: AtomicBool,
    pub(super) generation: Generation,
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

static FUTURE_CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Makes `class` (a subclass of `FutureCore`) what executors hand out.
///
/// # Errors
/// TypeError if it is no such subclass.
pub fn set_class(py: Python<'_>, class: Py<PyType>) -> PyResult<()> {
    if !class.bind(py).is_subclass_of::<FutureCore>()? {
        return Err(pyo3::exceptions::PyTypeError::new_err(
            "the future class must be a subclass of FutureCore",
        ));
    }
    let _ = FUTURE_CLASS.set(py, class);
    Ok(())
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
        local::help(slf);
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

    pub(super) fn load(&self, py: Python<'_>) {
        if let Kind::Remote(backend) = self.kind() {
            self.outcome.load(py, || backend.fetch(py));
        }
    }

    /// The outcome of a future that is done.
    #[inline]
    pub(super) fn value(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.completion().phase() == Phase::Cancelled {
            return Err(errors::error_of(errors::cancelled_error(py), "the task was cancelled"));
        }
        self.load(py);
        match self.outcome.error(py) {
            Some(error) => Err(PyErr::from_value(error.into_bound(py))),
            None => Ok(self.outcome.result(py).unwrap_or_else(|| py.None())),
        }
    }

    /// How far the task is. A remote one may run without its completion knowing.
    pub(super) fn phase(&self) -> Phase {
        match (self.completion().phase(), self.kind()) {
            (Phase::Pending, Kind::Remote(backend)) if backend.is_running() => Phase::Running,
            (phase, _) => phase,
        }
    }

    pub(super) fn state_name(&self) -> &'static str {
        match self.phase() {
            Phase::Pending => "PENDING",
            Phase::Running => "RUNNING",
            Phase::Finished => "FINISHED",
            Phase::Cancelled if self.awaits_notice() => "CANCELLED",
            Phase::Cancelled => "CANCELLED_AND_NOTIFIED",
        }
    }
}
