//! The threads of one `ThreadPoolExecutor`: what they are, and how they are shown.
//!
//! When a thread is started, retired or ended is decided by `manyhands_pool::threads`; what it does
//! with a task is in `worker.rs`. Work that is queued is done even if the executor is dropped.

use std::ffi::c_ulong;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use manyhands_pool::threads;
use pyo3::prelude::*;
use pyo3::types::{PySet, PyTuple};

use crate::call::call;
use crate::contract;
use crate::fork::Generation;

/// The threads of one executor and their queue.
pub type ThreadSet = threads::ThreadSet<PythonThreads>;

/// The slot of one such thread.
pub type Slot = threads::Slot<PythonThread>;

/// What the threads of one executor have in common.
pub struct PythonThreads {
    /// How they are started.
    pub settings: Settings,
    /// The `threading.Thread`s that work, shown as `executor._threads`.
    pub shown: Py<PySet>,
    /// The process line they live in.
    pub generation: Generation,
    is_broken: AtomicBool,
}

/// One thread.
pub struct PythonThread {
    /// The number by which `PyThreadState_SetAsyncExc` knows it.
    pub ident: c_ulong,
    /// Its name.
    pub name: String,
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

/// The sentence of `BrokenThreadPool`, as in the standard module.
pub const BROKEN: &str = "A thread initializer failed, the thread pool is not usable anymore";

impl PythonThreads {
    /// None of them is started.
    pub fn new(py: Python<'_>, settings: Settings) -> PyResult<Self> {
        Ok(Self {
            settings,
            shown: PySet::empty(py)?.unbind(),
            generation: Generation::current(),
            is_broken: AtomicBool::new(false),
        })
    }

    /// The name of the thread with this number.
    pub fn name_of(&self, number: usize) -> String {
        format!("{}_{number}", self.settings.thread_name_prefix)
    }

    /// An initializer failed: the pool takes no more tasks.
    pub fn mark_broken(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    /// Why the pool is broken, if it is.
    pub fn broken(&self) -> Option<&'static str> {
        self.is_broken.load(Ordering::Acquire).then_some(BROKEN)
    }

    /// Takes a thread off `executor._threads`: nobody waits for it any more.
    pub fn forget(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let forget = contract::FORGET_THREAD.get(py)?;
        call(forget, &(name, &self.shown).into_pyobject(py)?, None).map(drop)
    }
}
