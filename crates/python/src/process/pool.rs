//! The pyclass behind `ProcessPoolExecutor`: submit, and the pool's life.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manyhands_pool::process::{
    Arguments, PoolConfig, PoolCounts, ProcessPool, SubmitError, TaskOptions,
};
use manyhands_shm::Carried;
use pyo3::exceptions::{PyException, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use super::functions::Functions;
use super::launcher::launcher_of;
use super::remote::broken_pool;
use super::sent::{self, Call};
use crate::fork::Generation;
use crate::future::{self, FutureCore, Kind};
use crate::interrupt;
use crate::numbers::{clamped_or_none, clamped_usize};

/// The compiled part of `manyhands.futures.ProcessPoolExecutor`.
#[pyclass(module = "manyhands._runtime", subclass, frozen)]
pub struct ProcessPoolCore {
    opened: PyOnceLock<Opened>,
}

struct Opened {
    /// Until nothing is left of the pool.
    live: Mutex<Option<Arc<Live>>>,
    /// What people may still ask about a pool of which nothing is left.
    last: Mutex<(PoolCounts, Option<String>)>,
    generation: Generation,
}

/// A pool with workers, threads and memory.
struct Live {
    pool: ProcessPool,
    functions: Functions,
}

fn options(timeout_s: Option<f64>, name: Option<String>) -> PyResult<TaskOptions> {
    let timeout = timeout_s.map(duration).transpose()?;
    Ok(TaskOptions { name: name.map(Into::into), timeout, ..TaskOptions::default() })
}

#[pymethods]
impl ProcessPoolCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { opened: PyOnceLock::new() }
    }

    /// Schedules `fn(*args, **kwargs)` to run in a worker process.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn submit<'py>(
        slf: &Bound<'py, Self>,
        r#fn: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, FutureCore>> {
        Self::submit_call(slf, r#fn, Call::Once(args, kwargs), TaskOptions::default())
    }

    /// `submit` with options: `timeout_s` (seconds the task may run), `name`.
    #[pyo3(signature = (r#fn, args, kwargs, timeout_s=None, name=None))]
    fn _submit<'py>(
        slf: &Bound<'py, Self>,
        r#fn: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        timeout_s: Option<f64>,
        name: Option<String>,
    ) -> PyResult<Bound<'py, FutureCore>> {
        Self::submit_call(slf, r#fn, Call::Once(args, kwargs), options(timeout_s, name)?)
    }

    /// Schedules one task that calls `fn` with each of `items` (with each of them as its
    /// arguments, if `starred`); its result is the list of what the calls return. Options as those
    /// of `_submit`, for the whole task.
    #[pyo3(signature = (r#fn, items, starred, timeout_s=None, name=None))]
    fn _submit_chunk<'py>(
        slf: &Bound<'py, Self>,
        r#fn: &Bound<'py, PyAny>,
        items: &Bound<'py, PyAny>,
        starred: bool,
        timeout_s: Option<f64>,
        name: Option<String>,
    ) -> PyResult<Bound<'py, FutureCore>> {
        let chunk = if starred { Call::Starred(items) } else { Call::Each(items) };
        Self::submit_call(slf, r#fn, chunk, options(timeout_s, name)?)
    }

    /// Starts all workers now, not when tasks need them.
    fn _start_workers(&self, py: Python<'_>) {
        if let Some(live) = self.live(py) {
            py.detach(|| live.pool.start_workers());
        }
    }

    /// Opens the pool; called by `_open` when the first task comes. `setup` is what every worker
    /// is told, and the descriptors it gets, which the pool copies. `is_waited_for`: the end of the
    /// interpreter waits for its tasks.
    #[pyo3(signature = (max_workers, max_tasks, start_all, launcher, setup, is_waited_for=true))]
    #[expect(clippy::too_many_arguments, reason = "each is one of the pool's parameters")]
    fn _start(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = clamped_usize)] max_workers: usize,
        #[pyo3(from_py_with = clamped_or_none)] max_tasks: Option<usize>,
        start_all: bool,
        launcher: &Bound<'_, PyAny>,
        setup: (Vec<u8>, Vec<i32>),
        is_waited_for: bool,
    ) -> PyResult<()> {
        let (setup, fds) = setup;
        let owned = |fd: i32| -> std::io::Result<OwnedFd> {
            // SAFETY: the caller keeps the descriptor open during this call.
            unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
        };
        let fds = fds.into_iter().map(owned).collect::<Result<_, _>>()?;
        let config = PoolConfig {
            max_workers,
            max_tasks_per_worker: max_tasks.map(|n_tasks| n_tasks as u64),
            start_all,
            launcher: launcher_of(launcher)?,
            setup,
            fds,
        };
        let pool = py.detach(|| ProcessPool::new(config))?;
        if is_waited_for {
            all_pools::add(pool.handle());
        }
        let opened = Opened {
            live: Mutex::new(Some(Arc::new(Live { pool, functions: Functions::default() }))),
            last: Mutex::default(),
            generation: Generation::current(),
        };
        if self.opened.set(py, opened).is_err() {
            return Err(PyRuntimeError::new_err("the pool is open already"));
        }
        Ok(())
    }

    /// Whether any task has come yet.
    #[getter]
    fn _is_open(&self, py: Python<'_>) -> bool {
        self.opened.get(py).is_some()
    }

    /// Takes no more tasks.
    fn _close(&self, py: Python<'_>, cancel_pending: bool) {
        if let Some(live) = self.live(py) {
            py.detach(|| live.pool.close(cancel_pending));
        }
    }

    /// Waits until every task is done and every worker has ended; False at the timeout.
    #[pyo3(signature = (timeout=None))]
    fn _wait_until_ended(
        &self,
        py: Python<'_>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let deadline = interrupt::deadline_of(timeout)?;
        let Some(live) = self.live(py) else { return Ok(true) };
        interrupt::wait(py, deadline, |slice| live.pool.wait_until_ended(slice))
    }

    /// Gives back what an ended pool still holds: its memory and its hold on the template.
    fn _release(&self, py: Python<'_>) {
        let (Some(live), Some(opened)) = (self.live(py), self.opened.get(py)) else { return };
        if live.pool.handle().has_ended() {
            *lock(&opened.last) = (live.pool.counts(), live.pool.broken());
            let released = lock(&opened.live).take();
            py.detach(|| drop((live, released)));
        }
    }

    /// Kills the workers. Pending tasks are cancelled, and running ones as well if asked to.
    fn _kill(&self, py: Python<'_>, cancel_running: bool) {
        if let Some(live) = self.live(py) {
            py.detach(|| live.pool.kill(cancel_running));
        }
    }

    /// Cancels what waits, and running tasks as well if asked to; sends SIGTERM to the workers.
    #[pyo3(signature = (cancel_running=false))]
    fn _terminate(&self, py: Python<'_>, cancel_running: bool) {
        if let Some(live) = self.live(py) {
            py.detach(|| live.pool.terminate(cancel_running));
        }
    }

    /// Why the pool cannot run tasks, or None.
    fn _broken_reason(&self, py: Python<'_>) -> Option<String> {
        match self.live(py) {
            Some(live) => py.detach(|| live.pool.broken()),
            None => lock(&self.opened.get(py)?.last).1.clone(),
        }
    }

    /// `(number, pid, tasks in its lane, ready)` of each worker.
    fn _workers(&self, py: Python<'_>) -> Vec<(u64, u32, usize, bool)> {
        let Some(live) = self.live(py) else { return Vec::new() };
        let workers = py.detach(|| live.pool.workers());
        workers.iter().map(|worker| (worker.id, worker.pid, worker.n_tasks, worker.ready)).collect()
    }

    /// Counts since the pool was opened.
    fn _counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = match (self.live(py), self.opened.get(py)) {
            (Some(live), _) => py.detach(|| live.pool.counts()),
            (None, Some(opened)) => lock(&opened.last).0,
            (None, None) => PoolCounts::default(),
        };
        let dict = PyDict::new(py);
        dict.set_item("submitted", counts.submitted)?;
        dict.set_item("finished", counts.replied)?;
        dict.set_item("crashed", counts.crashed)?;
        dict.set_item("timed_out", counts.timed_out)?;
        dict.set_item("pending", counts.pending)?;
        dict.set_item("in_lanes", counts.in_lanes)?;
        dict.set_item("workers_started", counts.workers_started)?;
        dict.set_item("workers_died", counts.workers_died)?;
        Ok(dict)
    }
}

impl ProcessPoolCore {
    fn submit_call<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
        call: Call<'_, 'py>,
        options: TaskOptions,
    ) -> PyResult<Bound<'py, FutureCore>> {
        let py = slf.py();
        let core = slf.get();
        let opened = match core.opened.get(py) {
            Some(opened) => opened,
            None => {
                slf.call_method0("_open")?;
                core.opened.get(py).ok_or_else(|| PyRuntimeError::new_err("_open did not open"))?
            }
        };
        opened.generation.check("executor")?;
        let Some(live) = lock(&opened.live).clone() else {
            return Err(refusal(py, &SubmitError::Closed));
        };
        let pool = &live.pool;
        let (pickled, carried) =
            Carried::collect(|| sent::pickle(pool, &live.functions, function, call));
        let (sent, body) = match pickled {
            Ok(call) => call,
            Err(error) if error.is_instance_of::<PyException>(py) => {
                if pool.is_closed() {
                    return Err(refusal(py, &SubmitError::Closed));
                }
                // What cannot be sent is the task's own failure, not the submitter's.
                return failed_future(py, error);
            }
            Err(error) => return Err(error),
        };
        let task = pool
            .submit(sent, Arguments { body, carried }, options)
            .map_err(|error| refusal(py, &error))?;
        future::create(py, Kind::Remote(task))
    }

    /// The pool, unless nothing is left of it or this process was forked away from it.
    fn live(&self, py: Python<'_>) -> Option<Arc<Live>> {
        let opened = self.opened.get(py).filter(|opened| opened.generation.is_current())?;
        lock(&opened.live).clone()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if !self.generation.is_current() {
            // The pool's locks may be held by threads that are not in this forked child.
            let live = self.live.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(live.take());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed_future(py: Python<'_>, error: PyErr) -> PyResult<Bound<'_, FutureCore>> {
    let future = future::create(py, Kind::Manual)?;
    let ending = future.get().try_settle(Err(error.into_value(py).into_any()));
    ending.map_or(Ok(()), |ending| FutureCore::announce(&future, ending))?;
    Ok(future)
}

fn refusal(py: Python<'_>, error: &SubmitError) -> PyErr {
    match error {
        SubmitError::Broken(why) => broken_pool(py, why),
        SubmitError::Closed => crate::ending::closed_error(),
    }
}

fn duration(seconds: f64) -> PyResult<Duration> {
    if seconds.is_nan() || seconds < 0.0 {
        let text = format!("timeout must be a number of seconds not below 0, not {seconds}");
        return Err(PyValueError::new_err(text));
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// Ends all process pools of this process, at its end: waits for their tasks, or with `hard` kills
/// the workers and waits at most `patience_s` seconds for them to be gone.
#[pyfunction]
#[pyo3(signature = (hard, patience_s=None))]
pub fn end_process_pools(
    py: Python<'_>,
    hard: bool,
    patience_s: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let deadline = interrupt::deadline_of(patience_s)?;
    let pools = all_pools::living();
    py.detach(|| {
        for pool in &pools {
            if hard { pool.kill(true) } else { pool.close(false) }
        }
    });
    for pool in &pools {
        interrupt::wait(py, deadline, |slice| pool.wait_until_ended(slice))?;
    }
    Ok(())
}

/// Every pool of this process that has not ended, also those whose executor was dropped.
pub mod all_pools {
    use std::sync::{Mutex, PoisonError};

    use manyhands_pool::process::PoolHandle;
    use manyhands_sys::per_process::PerProcess;

    static CURRENT: PerProcess<Mutex<Vec<PoolHandle>>> = PerProcess::new();

    pub(super) fn add(pool: PoolHandle) {
        let mut pools = CURRENT.get().lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| !pool.has_ended());
        pools.push(pool);
    }

    pub(super) fn living() -> Vec<PoolHandle> {
        let mut pools = CURRENT.get().lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| !pool.has_ended());
        pools.clone()
    }

    /// In the child of a fork: the parent's pools are not ours.
    pub fn forget_after_fork() {
        CURRENT.forget();
    }
}

/// Processors this process may use: affinity mask and cgroup quota.
#[pyfunction]
pub fn usable_cpus() -> usize {
    manyhands_sys::machine::n_usable_cpus()
}

/// Bytes of shared memory this process's family has claimed and that are resident; zeros if it
/// has no heap.
#[pyfunction]
pub fn heap_usage() -> PyResult<(u64, u64)> {
    match manyhands_shm::family::existing() {
        Some(heap) => Ok((heap.claimed_bytes(), heap.resident_bytes()?)),
        None => Ok((0, 0)),
    }
}
