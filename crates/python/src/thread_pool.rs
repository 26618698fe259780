//! `ThreadPoolCore`: the compiled part of `manyhands.futures.ThreadPoolExecutor`.
//!
//! It checks nothing the Python part can check once and does nothing the crew does: `submit` goes
//! from the call straight to the queue.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyTuple};

use crate::crew::{self, Crew, Settings};
use crate::future::FutureCore;
use crate::numbers::clamped_usize;
use crate::worker::{Call, Options};

/// The compiled part of `ThreadPoolExecutor`.
#[pyclass(module = "manyhands._runtime", subclass, frozen)]
pub struct ThreadPoolCore {
    crew: OnceLock<Arc<Crew>>,
}

impl ThreadPoolCore {
    #[inline]
    fn crew(&self) -> PyResult<&Arc<Crew>> {
        self.crew.get().ok_or_else(|| {
            PyRuntimeError::new_err("call ThreadPoolExecutor.__init__ before using the executor")
        })
    }
}

#[pymethods]
impl ThreadPoolCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { crew: OnceLock::new() }
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
            format!("ThreadPoolExecutor-{}", crew::next_executor_number())
        } else {
            thread_name_prefix
        };
        let settings = Settings { thread_name_prefix, initializer, initargs, stack_size };
        self.crew
            .set(Arc::new(Crew::new(py, max_workers, settings)?))
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
        self.crew()?.submit(py, Call { function: r#fn, args, kwargs }, None)
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
        self.crew()?.submit(py, Call { function: r#fn, args, kwargs }, options)
    }

    /// Starts all threads now, not when tasks need them.
    fn _start_threads(&self, py: Python<'_>) -> PyResult<()> {
        self.crew()?.start_missing(py)
    }

    /// Takes no more tasks; cancels those that wait if asked.
    fn _close(&self, py: Python<'_>, cancel_futures: bool) -> PyResult<()> {
        let crew = self.crew()?;
        if !crew.generation().is_current() {
            // In a forked child: there is nothing here to close, and the original is not ours.
            return Ok(());
        }
        crew.queue.close();
        if cancel_futures { crew.cancel_queued(py) } else { Ok(()) }
    }

    /// Takes no more tasks, cancels what waits and interrupts what runs, without waiting.
    fn _stop_all(&self, py: Python<'_>) -> PyResult<()> {
        let crew = self.crew()?;
        if crew.generation().is_current() {
            crew.stop_all(py);
        }
        Ok(())
    }

    /// What the pool has done so far.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.crew()?.statistics(py)
    }

    #[getter]
    fn _max_workers(&self) -> PyResult<usize> {
        Ok(self.crew()?.n_max_threads())
    }

    #[getter]
    fn _threads(&self, py: Python<'_>) -> PyResult<Py<PySet>> {
        Ok(self.crew()?.threads.clone_ref(py))
    }

    /// False, or why the pool is broken.
    #[getter]
    fn _broken(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.crew()?.broken() {
            Some(reason) => Ok(reason.into_pyobject(py)?.into_any().unbind()),
            None => Ok(false.into_pyobject(py)?.to_owned().into_any().unbind()),
        }
    }

    #[getter]
    fn _shutdown(&self) -> PyResult<bool> {
        Ok(self.crew()?.queue.is_closed())
    }
}

impl Drop for ThreadPoolCore {
    /// What is queued is still done; then the threads end.
    fn drop(&mut self) {
        if let Some(crew) = self.crew.get()
            && crew.generation().is_current()
        {
            crew.queue.close();
        }
    }
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
