//! What a started thread runs around its body: without a Python frame of its own, so a traceback
//! shows the program's frames and the standard module's, as it always did.

use std::sync::Mutex;

use pyo3::PyTraverseError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::thread_end::ThreadEnd;
use crate::call::call;
use crate::errors;

/// Called once, in the new thread: `prepare()`, the body, `finish(value, error)`, which says
/// whether the error is to be raised further.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct ThreadRun {
    end: Py<ThreadEnd>,
    /// Taken by the call, so that nothing keeps what the body refers to.
    parts: Mutex<Option<Parts>>,
}

struct Parts {
    prepare: Py<PyAny>,
    body: Py<PyAny>,
    finish: Py<PyAny>,
}

/// Calls a function and gives what it returned to `keep`, and to the caller: many a program's own
/// `run` calls the target for its result.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct Returning {
    function: Py<PyAny>,
    keep: Py<PyAny>,
}

impl ThreadRun {
    fn take(&self) -> Option<Parts> {
        self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

#[pymethods]
impl ThreadRun {
    #[new]
    fn new(end: Py<ThreadEnd>, prepare: Py<PyAny>, body: Py<PyAny>, finish: Py<PyAny>) -> Self {
        Self { end, parts: Mutex::new(Some(Parts { prepare, body, finish })) }
    }

    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let Some(Parts { prepare, body, finish }) = self.take() else {
            return Err(PyRuntimeError::new_err("threads can only be started once"));
        };
        let end = self.end.get();
        let nothing = PyTuple::empty(py);
        let ended = call(prepare.bind(py), &nothing, None).and_then(|_| {
            if end.begin() {
                return call(body.bind(py), &nothing, None);
            }
            Err(errors::error_of(errors::cancelled(py), "cancelled before it began"))
        });
        // From here on no `cancel()` can interrupt.
        end.leave_body(py);
        drop((prepare, body));
        let (value, error) = match &ended {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error.value(py))),
        };
        let kept =
            (value, error).into_pyobject(py).and_then(|args| call(finish.bind(py), &args, None));
        end.end(py);
        match (kept?.is_truthy()?, ended) {
            (true, Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(parts) = self.parts.try_lock()
            && let Some(parts) = &*parts
        {
            visit.call(&parts.prepare)?;
            visit.call(&parts.body)?;
            visit.call(&parts.finish)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        drop(self.take());
    }
}

#[pymethods]
impl Returning {
    #[new]
    fn new(function: Py<PyAny>, keep: Py<PyAny>) -> Self {
        Self { function, keep }
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let value = call(self.function.bind(py), args, kwargs)?;
        call(self.keep.bind(py), &PyTuple::new(py, [&value])?, None)?;
        Ok(value.unbind())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.keep)
    }
}
