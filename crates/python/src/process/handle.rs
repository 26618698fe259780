//! A process for Python code that watches or signals one: never another with the same id.

use std::os::fd::IntoRawFd;

use manyhands_pool::completion::Wait;
use manyhands_sys::lifeline;
use manyhands_sys::pid::{self, PidFd, Signal};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::{errors, interrupt};

/// A process, dead or alive, by its pidfd, or by what stands in where pidfds are refused.
#[pyclass(frozen, module = "manyhands._runtime")]
pub struct ProcessHandle {
    process: PidFd,
}

impl ProcessHandle {
    pub(super) fn process(&self) -> &PidFd {
        &self.process
    }
}

#[pymethods]
impl ProcessHandle {
    /// The process that has the id `pid` right now.
    #[new]
    fn new(pid: u32) -> PyResult<Self> {
        Ok(Self { process: PidFd::open(pid).map_err(errors::os_error)? })
    }

    /// This process, for children that it forks and that are to end with it.
    #[staticmethod]
    fn before_fork() -> PyResult<Self> {
        // A child finds the line it hangs on by inheritance.
        drop(lifeline::own()?);
        Ok(Self { process: PidFd::current()? })
    }

    /// Whether it is a pidfd, as `os.waitid(os.P_PIDFD, ...)` takes it.
    #[getter]
    fn is_pidfd(&self) -> bool {
        self.process.is_pollable()
    }

    /// A new descriptor that is readable once the process has ended; the caller owns it.
    fn sentinel(&self) -> PyResult<i32> {
        Ok(self.process.sentinel().map_err(errors::os_error)?.into_raw_fd())
    }

    /// Sends a signal; that the process has ended is no error.
    fn signal(&self, number: i32) -> PyResult<()> {
        self.process.signal(signal_of(number)?).map_err(errors::os_error)
    }

    /// Whether the process has ended, waited for for `timeout` seconds at most (None: no end).
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let deadline = interrupt::deadline_of(timeout)?;
        interrupt::wait(py, deadline, |until| match pid::poll(&[], &[&self.process], until) {
            Ok(ended) if !ended.is_empty() => Wait::Done,
            _ if until.is_some_and(|until| until.has_passed()) => Wait::TimedOut,
            _ => Wait::Interrupted,
        })
    }
}

/// The signal with this number.
///
/// # Errors
/// ValueError if there is none.
pub(super) fn signal_of(number: i32) -> PyResult<Signal> {
    pid::signal_of(number)
        .ok_or_else(|| PyValueError::new_err(format!("there is no signal {number}")))
}
