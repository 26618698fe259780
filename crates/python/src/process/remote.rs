//! A task of a process pool as its Python future sees it.

use std::sync::Arc;
use std::time::Duration;

use manyhands_pool::completion::Completion;
use manyhands_pool::error::{CrashReport, TaskError};
use manyhands_pool::process::{Body, ProcessTask, Reply, ReplyKind};
use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::codec;
use crate::contract;
use crate::future::Backend;

impl Backend for ProcessTask {
    fn completion(&self) -> &Completion {
        self.outcome().completion()
    }

    fn fetch(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        // SAFETY: the future asks once, and there is one future per task.
        match unsafe { self.outcome().take() } {
            Some(Ok(reply)) => unpickle(py, reply),
            Some(Err(TaskError::TimedOut)) => Err(timed_out(self)),
            Some(Err(error)) => Err(to_python(py, error)),
            None => Err(PyRuntimeError::new_err("the task ended without a result")),
        }
    }

    fn cancel(&self, running: bool, grace: Duration) -> bool {
        if running { self.cancel_even_running(grace) } else { self.cancel_if_unclaimed() }
    }

    fn is_running(&self) -> bool {
        self.runs_now()
    }

    fn name(&self) -> Option<String> {
        self.task_name().map(ToOwned::to_owned)
    }

    fn statistics(&self, statistics: &Bound<'_, PyDict>) -> PyResult<()> {
        let times = self.times();
        let seconds = |ns: u64| (ns != 0).then_some(ns as f64 / 1e9);
        statistics.set_item("queued", seconds(times.queued_ns))?;
        statistics.set_item("started", seconds(times.started_ns))?;
        statistics.set_item("finished", seconds(times.finished_ns))?;
        let cpu_time = (times.finished_ns != 0).then_some(times.cpu_ns as f64 / 1e9);
        statistics.set_item("cpu_time", cpu_time)?;
        statistics.set_item("worker", (times.worker_pid != 0).then_some(times.worker_pid))
    }
}

fn timed_out(task: &ProcessTask) -> PyErr {
    let name = task.task_name().map_or("the task".to_owned(), |name| format!("{name:?}"));
    let seconds = task.timeout().unwrap_or_default().as_secs_f64();
    PyTimeoutError::new_err(if task.times().started_ns == 0 {
        format!(
            "{name} was not begun within its timeout of {seconds} s: its worker, which had \
             nothing else to do, is stopped (SIGSTOP) or hangs between two tasks"
        )
    } else {
        format!("{name} ran longer than its timeout of {seconds} s and was stopped")
    })
}

fn unpickle(py: Python<'_>, reply: Reply) -> PyResult<Py<PyAny>> {
    match reply.kind {
        ReplyKind::None | ReplyKind::Nothing => Ok(py.None()),
        ReplyKind::Raised => {
            let data = PyBytes::new(py, reply.body.bytes());
            let error = contract::LOADS_EXCEPTION.get(py)?.call1((data,))?;
            Err(PyErr::from_value(error))
        }
        ReplyKind::Value => {
            let loaded = match reply.body {
                Body::Inline(bytes) => codec::loads(py, &bytes, || None),
                Body::Block(block) => {
                    let block = Arc::new(block);
                    codec::loads(py, &block, || Some(Arc::clone(&block)))
                }
            };
            loaded.map(|loaded| loaded.object.unbind()).map_err(|error| unpicklable(py, error))
        }
    }
}

/// A result that arrived and cannot be made an object again.
fn unpicklable(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PyMemoryError>(py)
    {
        return error;
    }
    let make = || -> PyResult<PyErr> {
        let class = contract::UNPICKLABLE_RESULT.get(py)?;
        let name = error.get_type(py).name()?;
        let text = format!(
            "the task has returned, but its result cannot be unpickled here: {name}: {}",
            error.value(py)
        );
        let made = PyErr::from_value(class.call1((text,))?);
        made.set_cause(py, Some(error.clone_ref(py)));
        Ok(made)
    };
    make().unwrap_or_else(|failure| failure)
}

/// The Python exception for a task that has no reply.
fn to_python(py: Python<'_>, error: TaskError) -> PyErr {
    match error {
        TaskError::Crashed(report) => crashed(py, &report).unwrap_or_else(|failure| failure),
        TaskError::PoolBroken(why) => broken_pool(py, &why),
        TaskError::OutOfMemory(why) => PyMemoryError::new_err(why),
        other => PyRuntimeError::new_err(other.to_string()),
    }
}

fn crashed(py: Python<'_>, report: &CrashReport) -> PyResult<PyErr> {
    let class = contract::WORKER_CRASHED.get(py)?;
    let kwargs = PyDict::new(py);
    kwargs.set_item("task", report.task.as_deref())?;
    kwargs.set_item("pid", report.pid)?;
    kwargs.set_item("signal", report.signal)?;
    kwargs.set_item("exitcode", report.exit_code)?;
    kwargs.set_item("traceback", report.traceback.as_deref().map(without_our_frames))?;
    Ok(PyErr::from_value(class.call((report.to_string(),), Some(&kwargs))?))
}

/// A crash's traceback up to where the worker called the task: the rest is the same each time.
fn without_our_frames(text: &str) -> String {
    let ours = |line: &str| line.contains("/manyhands/_worker/worker_main.py\"");
    text.lines().take_while(|line| !ours(line)).collect::<Vec<_>>().join("\n")
}

/// `BrokenProcessPool` with a sentence.
pub fn broken_pool(py: Python<'_>, why: &str) -> PyErr {
    let error = contract::BROKEN_PROCESS_POOL.get(py).and_then(|class| class.call1((why,)));
    error.map_or_else(|failure| failure, PyErr::from_value)
}
