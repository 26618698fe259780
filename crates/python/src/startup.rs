//! What the package tells the extension when it is imported.

use pyo3::prelude::*;
use pyo3::types::PyType;

/// Makes `class` (a subclass of `FutureCore`) what executors hand out.
#[pyfunction]
#[pyo3(signature = (class_, /))]
pub fn set_future_class(py: Python<'_>, class_: Py<PyType>) -> PyResult<()> {
    crate::future::set_class(py, class_)?;
    crate::process::codec::look_everything_up(py)
}
