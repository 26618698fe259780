//! The coroutines that wait at a queue, for the queues of threads and for those of processes.
//!
//! A coroutine cannot sleep on a word. It counts itself here before it looks at the queue, and
//! whoever puts or gets looks at the number afterwards: if there is one, Python code calls it.
//!
//! Who waits, and in which event loop, only Python knows (a `Waiters` of
//! `_queues/thread_queue_async.py` or of `_queues/process_queue_async.py`). In a forked child there
//! is nobody: they are the parent's.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use crate::call::call;

/// How many coroutines of this process wait at a queue, and who calls them.
#[derive(Default)]
pub struct Coroutines {
    waiters: OnceLock<Py<PyAny>>,
    n_getters: AtomicU32,
    n_putters: AtomicU32,
}

impl Coroutines {
    /// How many wait for an item.
    pub fn n_getters(&self) -> u32 {
        self.n_getters.load(Ordering::Relaxed)
    }

    /// How many wait for room.
    pub fn n_putters(&self) -> u32 {
        self.n_putters.load(Ordering::Relaxed)
    }

    /// Who calls them; made by `make(queue)` when there is nobody yet.
    pub fn waiters<'py>(
        &self,
        queue: &Bound<'py, PyAny>,
        make: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = queue.py();
        if self.waiters.get().is_none() {
            let waiters = call(make, &(queue,).into_pyobject(py)?, None)?.unbind();
            let _ = self.waiters.set(waiters);
        }
        let waiters = self.waiters.get();
        Ok(waiters.map_or_else(|| py.None(), |waiters| waiters.clone_ref(py)).into_bound(py))
    }

    pub fn count_getters(&self, n_more: i32) {
        self.n_getters.fetch_add(n_more as u32, Ordering::SeqCst);
    }

    pub fn count_putters(&self, n_more: i32) {
        self.n_putters.fetch_add(n_more as u32, Ordering::SeqCst);
    }

    /// In a forked child: whoever waited is the parent's.
    pub fn forget(&self) {
        self.n_getters.store(0, Ordering::SeqCst);
        self.n_putters.store(0, Ordering::SeqCst);
    }

    /// `n_items` are there: calls coroutines that wait for one.
    #[inline]
    pub fn after_put(&self, py: Python<'_>, n_items: usize) -> PyResult<()> {
        // A coroutine is counted before it looks at the queue, under whose mutex both sides were.
        match self.n_getters.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ => self.call(py, "call_getters", n_items),
        }
    }

    /// `n_items` are gone: calls coroutines that wait for room.
    #[inline]
    pub fn after_get(&self, py: Python<'_>, n_items: usize) -> PyResult<()> {
        match self.n_putters.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ => self.call(py, "call_putters", n_items),
        }
    }

    /// The queue was shut down: calls all.
    pub fn after_shutdown(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, "call_all", 0)
    }

    #[cold]
    fn call(&self, py: Python<'_>, which: &str, n_items: usize) -> PyResult<()> {
        let Some(waiters) = self.waiters.get() else { return Ok(()) };
        let method = waiters.bind(py).getattr(which)?;
        call(&method, &(n_items,).into_pyobject(py)?, None).map(drop)
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.waiters.get().map_or(Ok(()), |waiters| visit.call(waiters))
    }
}

/// The methods by which Python code works with the field `coroutines` of a class of queues.
macro_rules! coroutine_methods {
    ($class:ident) => {
        #[pymethods]
        impl $class {
            /// The coroutines that wait; made by `make(self)` when there is none yet.
            fn _waiters<'py>(
                slf: &Bound<'py, Self>,
                make: &Bound<'py, PyAny>,
            ) -> PyResult<Bound<'py, PyAny>> {
                slf.get().coroutines.waiters(slf.as_any(), make)
            }

            /// `n_more` more coroutines wait for an item.
            fn _count_getters(&self, n_more: i32) {
                self.coroutines.count_getters(n_more);
            }

            /// `n_more` more coroutines wait for room.
            fn _count_putters(&self, n_more: i32) {
                self.coroutines.count_putters(n_more);
            }

            /// In a forked child: whoever waited is the parent's.
            fn _forget_coroutines(&self) {
                self.coroutines.forget();
            }
        }
    };
}

pub(crate) use coroutine_methods;
