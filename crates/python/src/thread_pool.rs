//! `ThreadPoolCore`: the compiled part of `manyhands.futures.ThreadPoolExecutor`.
//!
//! It checks nothing the Python part can check once and does nothing that its threads do: `submit`
//! goes from the call straight to their queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use manyhands_pool::threads::Refused;
use manyhands_sys::machine::n_most_processes;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyTuple};

use crate::ending::{closed_error, is_interpreter_ending};
use crate::errors;
use crate::future::local::{Call, LocalTask, Options};
use crate::future::{self, FutureCore, Kind};
use crate::numbers::clamped_usize;
use crate::python_threads::{PythonThreads, Settings, ThreadSet};
use crate::worker;

/// How many executors have been named by number: the N in `ThreadPoolExecutor-N`.
static N_NAMED: AtomicUsize = AtomicUsize::new(0);

/// The compiled part of `ThreadPoolExecutor`.
#[pyclass(module = "manyhands._runtime", subclass, frozen)]
pub struct ThreadPoolCore {
    threads: OnceLock<Arc<ThreadSet>>,
}

impl ThreadPoolCore {
    #[inline]
    fn threads(&self) -> PyResult<&Arc<ThreadSet>> {
        self.threads.get().ok_or_else(|| {
            PyRuntimeError::new_err("call ThreadPoolExecutor.__init__ before using the executor")
        })
    }

    /// Queues a call and returns its future.
    #[inline]
    fn submit_call<'py>(
        &self,
        py: Python<'py>,
        call: Call,
        options: Option<Box<Options>>,
    ) -> PyResult<Bound<'py, FutureCore>> {
        let threads = self.threads()?;
        check(threads, py)?;
        let task = LocalTask::new(Arc::clone(threads), call, options);
        let future = future::create(py, Kind::Local(task))?;
        match threads.submit(py, future.clone().unbind()) {
            Ok(()) => Ok(future),
            // A task whose future nobody gets must not run.
            Err(Refused::NoThread(error)) => {
                future.get().completion().cancel();
                Err(error)
            }
            Err(Refused::Closed) => Err(closed_error()),
        }
    }
}

#[pymethods]
impl ThreadPoolCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { threads: OnceLock::new() }
    }

    /// Sets the pool up; called once, by `__init__`.
    fn _set_up(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = clamped_usize)] max_workers: usize,
        thread_name_prefix: String,
        initializer: Option<Py<PyAny>>,
        initargs: Py<PyTuple>,
        stack_size: Option<usize>,
    ) -> PyResult<()> {
        let thread_name_prefix = if thread_name_prefix.is_empty() {
            format!("ThreadPoolExecutor-{}", N_NAMED.fetch_add(1, Ordering::Relaxed))
        } else {
            thread_name_prefix
        };
        let settings = Settings { thread_name_prefix, initializer, initargs, stack_size };
        let kind = PythonThreads::new(py, settings)?;
        self.threads
            .set(Arc::new(ThreadSet::new(max_workers, kind)))
            .map_err(|_| PyRuntimeError::new_err("ThreadPoolExecutor.__init__ was called twice"))
    }

    /// Schedules `fn(*args, **kwargs)` and returns its future.
    #[pyo3(signature = (r#fn, /, *args, **kwargs))]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        r#fn: Py<PyAny>,
        args: Py<PyTuple>,
        kwargs: Option<Py<PyDict>>,
    ) -> PyResult<Bound<'py, FutureCore>> {
        self.submit_call(py, Call { function: r#fn, args, kwargs }, None)
    }

    /// `submit` with options: `timeout` in seconds and `name`.
    #[pyo3(signature = (r#fn, args, kwargs, timeout, name))]
    fn _submit<'py>(
        &self,
        py: Python<'py>,
        r#fn: Py<PyAny>,
        args: Py<PyTuple>,
        kwargs: Option<Py<PyDict>>,
        timeout: Option<f64>,
        name: Option<String>,
    ) -> PyResult<Bound<'py, FutureCore>> {
        let timeout = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let options =
            (timeout.is_some() || name.is_some()).then(|| Box::new(Options { timeout, name }));
        self.submit_call(py, Call { function: r#fn, args, kwargs }, options)
    }

    /// Starts all threads now, not when tasks need them; none if the system could never have them
    /// all.
    fn _start_threads(&self, py: Python<'_>) -> PyResult<()> {
        let threads = self.threads()?;
        if threads.n_max_threads() > n_most_processes() {
            return Ok(());
        }
        threads.start_missing(py)
    }

    /// Takes no more tasks; cancels those that wait if asked.
    fn _close(&self, py: Python<'_>, cancel_futures: bool) -> PyResult<()> {
        let threads = self.threads()?;
        if !threads.kind.generation.is_current() {
            // In a forked child: there is nothing here to close, and the original is not ours.
            return Ok(());
        }
        threads.queue.close();
        if cancel_futures {
            for future in threads.queue.drain() {
                future.bind(py).call_method0("cancel")?;
            }
        }
        Ok(())
    }

    /// Takes no more tasks, cancels what waits and interrupts what runs, without waiting.
    fn _stop_all(&self, py: Python<'_>) -> PyResult<()> {
        let threads = self.threads()?;
        if threads.kind.generation.is_current() {
            worker::stop_all(threads, py);
        }
        Ok(())
    }

    /// What the pool has done so far.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let threads = self.threads()?;
        let numbers = threads.numbers();
        let statistics = PyDict::new(py);
        statistics.set_item("max_workers", threads.n_max_threads())?;
        statistics.set_item("workers", numbers.n_live)?;
        statistics.set_item("workers_started", numbers.n_started)?;
        statistics.set_item("idle_workers", numbers.n_idle)?;
        statistics.set_item("queued", numbers.n_queued)?;
        statistics.set_item("submitted", numbers.n_submitted)?;
        statistics.set_item("finished", numbers.n_finished)?;
        Ok(statistics)
    }

    #[getter]
    fn _max_workers(&self) -> PyResult<usize> {
        Ok(self.threads()?.n_max_threads())
    }

    #[getter]
    fn _threads(&self, py: Python<'_>) -> PyResult<Py<PySet>> {
        Ok(self.threads()?.kind.shown.clone_ref(py))
    }

    /// False, or why the pool is broken.
    #[getter]
    fn _broken(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.threads()?.kind.broken() {
            Some(reason) => Ok(reason.into_pyobject(py)?.into_any().unbind()),
            None => Ok(false.into_pyobject(py)?.to_owned().into_any().unbind()),
        }
    }

    #[getter]
    fn _shutdown(&self) -> PyResult<bool> {
        Ok(self.threads()?.queue.is_closed())
    }
}

impl Drop for ThreadPoolCore {
    /// What is queued is still done; then the threads end.
    fn drop(&mut self) {
        if let Some(threads) = self.threads.get()
            && threads.kind.generation.is_current()
        {
            threads.queue.close();
        }
    }
}

/// Refuses a task: RuntimeError in a forked child or when the interpreter ends, BrokenThreadPool.
#[inline]
fn check(threads: &ThreadSet, py: Python<'_>) -> PyResult<()> {
    threads.kind.generation.check("executor")?;
    if let Some(reason) = threads.kind.broken() {
        return Err(errors::error_of(errors::broken_thread_pool(py), reason));
    }
    if is_interpreter_ending() { Err(closed_error()) } else { Ok(()) }
}

/// Checks the options of `executor.options()` once, when the view is made.
#[pyfunction]
#[pyo3(signature = (timeout, name))]
pub fn check_options(timeout: Option<f64>, name: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    if timeout.is_some_and(|seconds| seconds.is_nan() || seconds <= 0.0) {
        return Err(pyo3::exceptions::PyValueError::new_err(
            "timeout must be a positive number of seconds, or None for no limit",
        ));
    }
    if name.is_some_and(|name| !name.is_instance_of::<pyo3::types::PyString>()) {
        return Err(PyTypeError::new_err("name must be a string, or None for the function's own"));
    }
    Ok(())
}
