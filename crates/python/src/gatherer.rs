//! `Gatherer`: many of our futures, awaited at once; behind `wait` and `as_completed`.
//!
//! Guarantees: each future is handed out once, in the order of ending, and is not referenced any
//! more afterwards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use manyhands_pool::completion::WatchId;
use manyhands_pool::wait::Gathering;
use pyo3::prelude::*;

use crate::future::{self, FutureCore, Kind};
use crate::interrupt;
use crate::stopping;

/// Many futures, awaited at once.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct Gatherer {
    gathering: Gathering,
    awaited: Mutex<Awaited>,
    n_added: AtomicUsize,
}

/// The futures that have not been handed out, by the index under which they are watched.
type Awaited = HashMap<usize, (Py<FutureCore>, Option<WatchId>)>;

#[pymethods]
impl Gatherer {
    /// Watches `futures`; None if one of them is not ours, or was made by hand: a cancel of such
    /// a one only counts once its maker has noticed, which the standard functions know.
    #[staticmethod]
    fn of(futures: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let gathering = Gathering::new();
        let mut awaited = HashMap::new();
        let mut all = Vec::new();
        for future in futures.try_iter()? {
            let Ok(future) = future?.cast_into::<FutureCore>() else { return Ok(None) };
            if matches!(future.get().kind(), Kind::Manual) {
                return Ok(None);
            }
            if !future.get().completion().is_done() {
                future.get().check_generation()?;
            }
            all.push(future);
        }
        for (index, future) in all.into_iter().enumerate() {
            let id = gathering.watch(future.get().completion(), index);
            awaited.insert(index, (future.unbind(), id));
        }
        let n_added = AtomicUsize::new(awaited.len());
        Ok(Some(Self { gathering, awaited: Mutex::new(awaited), n_added }))
    }

    /// Watches nothing yet.
    #[new]
    fn new() -> Self {
        Self {
            gathering: Gathering::new(),
            awaited: Mutex::default(),
            n_added: AtomicUsize::new(0),
        }
    }

    /// Watches one more future; False if it was made by hand, see [`of`](Self::of). For gatherers
    /// made empty.
    fn add(&self, future: &Bound<'_, FutureCore>) -> PyResult<bool> {
        if matches!(future.get().kind(), Kind::Manual) {
            return Ok(false);
        }
        if !future.get().completion().is_done() {
            future.get().check_generation()?;
        }
        let index = self.n_added.fetch_add(1, Ordering::Relaxed);
        // First: who waits must find the future of each report.
        self.lock().insert(index, (future.clone().unbind(), None));
        let id = self.gathering.watch(future.get().completion(), index);
        if let Some((_, place)) = self.lock().get_mut(&index) {
            *place = id;
        }
        Ok(true)
    }

    /// The next future that is done, waiting for it at most until `deadline` seconds of
    /// `time.monotonic()`. None if time is over or no future is left.
    #[pyo3(signature = (deadline=None))]
    fn next(&self, py: Python<'_>, deadline: Option<f64>) -> PyResult<Option<Py<FutureCore>>> {
        if let Some(future) = self.poll() {
            return Ok(Some(future));
        }
        if self.lock().is_empty() {
            return Ok(None);
        }
        self.help(py);
        let deadline = match deadline {
            Some(at) if at.is_finite() => {
                let ns = (at.max(0.0) * 1e9).min(u64::MAX as f64) as u64;
                Some(manyhands_sys::clock::Deadline::at_ns(ns))
            }
            _ => None,
        };
        // Another thread may take what was left.
        let is_over = || self.lock().is_empty();
        loop {
            if let Some(future) = self.poll() {
                return Ok(Some(future));
            }
            let wait = |slice| self.gathering.wait_unless(slice, is_over);
            if is_over() || !interrupt::wait(py, deadline, wait)? {
                return Ok(None);
            }
        }
    }

    /// How many futures have not been handed out.
    fn __len__(&self) -> usize {
        self.lock().len()
    }

    /// Stops watching.
    fn close(&self, py: Python<'_>) {
        let awaited = std::mem::take(&mut *self.lock());
        for (future, id) in awaited.into_values() {
            if let Some(id) = id {
                future.bind(py).get().completion().unwatch(id);
            }
        }
    }
}

impl Gatherer {
    fn poll(&self) -> Option<Py<FutureCore>> {
        loop {
            let index = self.gathering.poll()?;
            let (taken, is_last) = {
                let mut awaited = self.lock();
                (awaited.remove(&index), awaited.is_empty())
            };
            if is_last {
                self.gathering.stir();
            }
            if let Some((future, _)) = taken {
                return Some(future);
            }
        }
    }

    /// In a worker of the pool that these futures wait for: run them, if nobody else can.
    fn help(&self, py: Python<'_>) {
        if !stopping::is_worker() {
            return;
        }
        let awaited: Vec<_> =
            self.lock().values().map(|(future, _)| future.clone_ref(py)).collect();
        for future in awaited {
            future::help(future.bind(py));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        self.awaited.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Whether one of `futures` is done and has an exception.
#[pyfunction]
pub fn any_error(py: Python<'_>, futures: &Bound<'_, PyAny>) -> PyResult<bool> {
    for future in futures.try_iter()? {
        if future?.cast::<FutureCore>().is_ok_and(|future| future.get().has_error(py)) {
            return Ok(true);
        }
    }
    Ok(false)
}
