//! The exceptions of a queue between processes: what is refused, and what a batch that stopped
//! half-way tells about itself.

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};

use crate::call::call;
use crate::errors;

/// An object that cannot be packed: what the class of the queue makes of that.
#[cold]
pub fn refuse(slf: &Bound<'_, PyAny>, object: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = slf.py();
    let refuse = slf.getattr(intern!(py, "_refuse"))?;
    call(&refuse, &(error.value(py), object).into_pyobject(py)?, None).map(drop)
}

/// Whoever has to go on from here must know where that is.
pub fn with_n_put(py: Python<'_>, error: PyErr, n_put: usize) -> PyErr {
    let _ = error.value(py).setattr(intern!(py, "n_put"), n_put);
    error
}

/// The first of `failures`, with the items that could be unpickled and a note of each other one.
#[cold]
pub fn with_items(py: Python<'_>, failures: Vec<PyErr>, items: Bound<'_, PyList>) -> PyErr {
    let mut failures = failures.into_iter();
    let first = failures.next().expect("something failed");
    let value = first.value(py);
    let _ = value.setattr(intern!(py, "items"), items);
    for other in failures {
        let note = format!("Another item of the batch could not be unpickled: {other}");
        let _ = value.call_method1(intern!(py, "add_note"), (note,));
    }
    first
}

pub fn raise(class: PyResult<&Bound<'_, PyType>>) -> PyErr {
    match class {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

#[cold]
pub fn closed(slf: &Bound<'_, PyAny>) -> PyErr {
    let text = is_closed_text(slf);
    // As the standard classes: reading or writing a closed pipe is an OSError.
    if is_simple(slf) { PyOSError::new_err(text) } else { PyValueError::new_err(text) }
}

pub fn is_simple(slf: &Bound<'_, PyAny>) -> bool {
    let is_simple = slf.getattr(intern!(slf.py(), "_is_simple"));
    is_simple.and_then(|is_simple| is_simple.is_truthy()).unwrap_or(false)
}

pub fn is_closed_text(slf: &Bound<'_, PyAny>) -> String {
    let repr = slf.repr().map_or_else(|_| String::new(), |repr| repr.to_string());
    format!("Queue {repr} is closed")
}

#[cold]
pub fn not_made() -> PyErr {
    PyRuntimeError::new_err("this queue was not made: a subclass must call super().__init__()")
}

#[cold]
pub fn outsider(py: Python<'_>) -> PyErr {
    let text = "this process was forked in a way that left it outside of the queue's family: \
                fork with os.fork() or multiprocessing";
    errors::error_of(errors::handle_error(py), text)
}
